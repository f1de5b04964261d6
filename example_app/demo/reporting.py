"""The nightly report, asked for by hand, held against the sales."""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import httpx

from example_app.demo.verdict import Books


async def close_the_day(client: httpx.AsyncClient) -> UUID:
    """Have the report written now; returns the run that does."""
    run: str = (await client.post("/reports")).raise_for_status().json()
    return UUID(run)


def broken_reports(books: Books, run: str, asked_for: UUID) -> Iterator[str]:
    """Every invariant that does not hold, once the day is closed and the run ``asked_for`` has had its time."""
    reports = sum(report.run_id == asked_for for report in books.reports)
    if reports != 1:
        yield f"the nightly report was asked for once and written {reports} times"
    for report in books.reports:
        told = [sale.cents for sale in books.sales if sale.report_id == report.id]
        if (report.sales, report.cents) != (len(told), sum(told)):
            yield (
                f"report {report.id} tells of {report.sales} sales for {report.cents} cents, but they are "
                f"{len(told)} for {sum(told)}"
            )
    sold = Counter(sale.order_id for sale in books.sales if sale.report_id is not None)
    for order in books.orders.values():
        if order.reference.startswith(f"{run}-") and sold[order.id] != books.paid[order.id]:
            yield f"order {order.id} was paid {books.paid[order.id]} times and reported {sold[order.id]} times"
