"""The API of the reports module."""

from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter
from sqlmodel import col, select

from example_app.composition import events
from example_app.dependencies import SessionDep
from example_app.reports.tables import Report

router = APIRouter(tags=["reports"])


@router.post("/reports", status_code=202)
async def write_report_now() -> UUID:
    """Write the nightly report now, and not only at night; returns the run that does."""
    return await events.operations.run_schedule_now(
        "reports.nightly", actor="shopkeeper", reason="asked for by the API"
    )


@router.get("/reports")
async def list_reports(session: SessionDep) -> Sequence[Report]:
    """Show the newest reports."""
    return (await session.scalars(select(Report).order_by(col(Report.until).desc()).limit(31))).all()
