"""How sales become reports."""

from datetime import timedelta
from uuid import UUID

from sqlmodel import col, select

from example_app.payments.contracts import PaymentCaptured
from example_app.reports.tables import Report, Sale
from fastapi_events import HandlerSession, JobContext, Module

reports = Module("reports")


@reports.on(PaymentCaptured)
async def note_sale(event: PaymentCaptured, session: HandlerSession) -> None:
    """A sale that no report tells of yet."""
    session.add(Sale(order_id=event.order_id, cents=event.cents))


@reports.every("0 2 * * *", tz="Europe/Berlin")
@reports.job("reports.nightly", timeout=timedelta(minutes=10))
async def write_report(job: JobContext[None], session: HandlerSession) -> UUID:
    """Tell of every sale that no report has told of: each is in one report, whatever becomes of the first attempt."""
    report = Report(run_id=job.run.id, until=job.run.scheduled_for or job.run.created_at, sales=0, cents=0)
    unreported = select(Sale).where(col(Sale.report_id).is_(None)).with_for_update()
    for sale in await session.scalars(unreported):
        sale.report_id = report.id
        report.sales, report.cents = report.sales + 1, report.cents + sale.cents
    session.add(report)
    return report.id
