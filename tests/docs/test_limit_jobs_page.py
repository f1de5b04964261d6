"""The page on limits of jobs: two who ask are given one run, and a second count is refused."""

from collections.abc import Callable

from tests.docs.pages import Project
from tests.docs.serving import execute, served, until

Made = Callable[[str], Project]


async def test_limits(project: Made, clean_database: str) -> None:
    shop = project("docs/how-to/limit-jobs.md").load("shop.supply")
    async with served(shop.app) as client:
        first, second = [(await client.post("/reports/monday")).json() for _ in range(2)]
        assert first == second
        await shop.events.jobs.start(shop.restock, shop.Restock(sku="A-1", supplier="acme"))
        run = await shop.events.jobs.start(shop.take_stock, None, delay=3600)
        refused = await client.post("/stock")
        assert (refused.status_code, refused.json()["detail"]) == (409, f"run {run.run} is at it")

        async def both() -> bool:
            return sorted(shop.done) == ["A-1", "monday"]

        async def counted() -> bool:
            return "counted" in shop.done

        await until(both)
        await execute(clean_database, "UPDATE events.run_queue SET due_at = now()")
        shop.events.runtime.wake.everything()
        await until(counted)
