"""The page on schedules: its jobs come when their ticks are due, and one is run by hand."""

from collections.abc import Callable
from typing import Any

from fastapi_events import EventsSettings
from tests.docs.pages import Project
from tests.docs.serving import execute, until

Made = Callable[[str], Project]


async def test_reports(project: Made, clean_database: str) -> None:
    page = project("docs/how-to/schedule-jobs.md")
    shop: Any = page.load("shop.reports")
    pausing: Any = page.load("shop.pausing")
    shop.events.settings = EventsSettings(database_url=clean_database)
    await shop.events.start(drains=True)
    try:
        await execute(
            clean_database,
            "UPDATE events.schedule SET next_at = '2026-01-15 06:00 Europe/Berlin' WHERE name = 'reports.daily'",
        )
        await execute(
            clean_database,
            "UPDATE events.schedule SET next_at = clock_timestamp() WHERE name <> 'reports.daily'",
        )
        shop.events.runtime.wake.everything()

        async def both() -> bool:
            return len(shop.made) == 2

        await until(both)
        assert "swept" in shop.made
        assert await pausing.standing() == {"reports.daily": "ticking", "reports.sweep": "ticking"}
        run = await pausing.once_now()
        assert await shop.events.jobs.result(run, timeout=15) is None
        assert len(shop.made) == 3
        assert await pausing.standing() == {"reports.daily": "ticking", "reports.sweep": "ticking"}
    finally:
        await shop.events.stop()
