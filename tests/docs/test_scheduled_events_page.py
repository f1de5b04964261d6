"""The page on scheduled events: a reminder that comes, one that is taken back, and one that is moved."""

from collections.abc import Callable
from uuid import UUID

from tests.docs.pages import Project
from tests.docs.serving import execute, served, until

Made = Callable[[str], Project]


async def test_reminders(project: Made, clean_database: str) -> None:
    page = project("docs/how-to/scheduled-events.md")
    shop = page.load("shop.payments")
    async with served(shop.app) as client:
        ids = [(await client.post(f"/orders/{number}")).json() for number in (1, 2, 3)]
        assert (await client.post(f"/reminders/{ids[0]}/paid")).json() is True
        assert (await client.post(f"/reminders/{ids[0]}/paid")).json() is False
        postpone = page.load("shop.postponing").postpone
        moved = await postpone(UUID(ids[1]), 2)
        assert await postpone(UUID(ids[1]), 2) is None
        waiting = await execute(clean_database, "SELECT id::text FROM events.scheduled_event ORDER BY due_at")
        assert [row["id"] for row in waiting] == [str(moved), ids[2]]
        assert shop.reminded == []
        await execute(clean_database, "UPDATE events.scheduled_event SET due_at = now()")
        shop.events.runtime.wake.everything()

        async def both() -> bool:
            return sorted(shop.reminded) == [2, 3]

        await until(both)
