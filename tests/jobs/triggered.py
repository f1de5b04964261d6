"""A module with a job that orders start, and what tests of triggers look at."""

from typing import Any

from pydantic import BaseModel

from fastapi_events import Job, JobContext, Module, Trigger
from tests.delivery.stage import Placed, Stage

TRIGGER = "shop.restock.shop.order.placed"


class Restock(BaseModel):
    """What a run is started with."""

    sku: str
    quantity: int = 1


def made(event: Placed) -> Restock:
    """The input that an order makes."""
    return Restock(sku=event.order, quantity=event.number)


def restocking(seen: list[Any], *, name: str = "shop.restock", **options: Any) -> Module:
    """A module whose job notes its inputs."""
    shop = Module("shop")
    options.setdefault("triggers", [Trigger(Placed, map=made)])

    @shop.job(name, **options)
    async def restock(job: JobContext[Restock]) -> None:
        seen.append(job.input.sku)

    return shop


def job_of(module: Module) -> Job[Restock, None]:
    """The job of such a module."""
    return module.declared_jobs[0]


async def runs(stage: Stage) -> list[Any]:
    """Every run, in the order of starting, with the name of its trigger."""
    return await stage.rows(
        "SELECT r.*, h.name AS trigger, j.name AS job FROM events.run r JOIN events.job j ON j.id = r.job_id "
        "LEFT JOIN events.handler h ON h.id = r.trigger_id ORDER BY r.number"
    )


async def queued(stage: Stage) -> int:
    """How many runs have not ended."""
    return int(await stage.value("SELECT count(*) FROM events.run_queue"))
