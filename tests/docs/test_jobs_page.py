"""What the page on jobs promises of its example."""

from collections.abc import Callable
from uuid import uuid4

from tests.docs.pages import Project
from tests.docs.serving import served, until


async def test_a_restock_waits_for_its_goods(project: Callable[[str], Project], clean_database: str) -> None:
    page = project("docs/how-to/jobs.md")
    inventory = page.load("shop.inventory")
    async with served(page.load("shop.main").app) as client:
        answer = await client.post("/restocks", json={"sku": "A-1", "quantity": 4})
        run = answer.raise_for_status().json()
        assert (await client.get(f"/restocks/{uuid4()}")).status_code == 404
        assert (await client.get("/restocks/abc")).status_code == 422

        async def waits() -> bool:
            rows = await inventory.events.runtime.database.fetch("SELECT FROM events.run_wait")
            return bool(rows)

        await until(waits)

        async def is_put_down() -> bool:
            return (await client.get(f"/restocks/{run}")).json() == "pending"

        await until(is_put_down)
        await inventory.events.publish(inventory.GoodsArrived(sku="A-1", quantity=4))

        async def done() -> bool:
            return (await client.get(f"/restocks/{run}")).json() == "completed"

        await until(done)
