"""Runs that spawn runs: each once, waited for without holding anything, and closed with the run that spawned them."""

import asyncio
from typing import Any

import pytest

from fastapi_events import JobContext, Module, Retry, fixed
from fastapi_events.errors import JobFailed
from fastapi_events.store.families import FamilyStore
from tests.delivery.stage import Stage, until, within


class Shop:
    """A module with a parent and its children, which note what they do."""

    def __init__(self, policy: Any = "cancel") -> None:
        self.module, self.seen = Module("shop"), []
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

        @self.module.job(retry=Retry(1))
        async def grand(job: JobContext[int]) -> int:
            return await self.wait(f"grand {job.input}", job.input)

        @self.module.job(retry=Retry(1))
        async def child(job: JobContext[int]) -> int:
            if job.input == 13:
                raise ValueError("unlucky")
            if job.input >= 100:
                await job.spawn(grand, job.input, on_parent_close=policy)
            return await self.wait(f"child {job.input}", job.input * 2) if job.input >= 50 else job.input * 2

        @self.module.job(retry=Retry(2, fixed(0)))
        async def parent(job: JobContext[list[int]]) -> list[int]:
            self.seen.append("parent")
            for number in job.input:
                await job.spawn(child, number, on_parent_close=policy)
            if job.input[:1] == [0]:
                raise ValueError("after spawning")
            results: list[int] = await job.gather_children()
            return results

        self.parent, self.child, self.grand = parent, child, grand

    async def wait(self, what: str, value: int) -> int:
        self.seen.append(f"{what} begins")
        self.begun.set()
        try:
            await self.go_on.wait()
        finally:
            self.seen.append(f"{what} ends")
        return value


async def states(stage: Stage) -> dict[str, list[str]]:
    rows = await stage.rows(
        "SELECT j.name, coalesce(e.state, q.state::text) AS state FROM events.run r "
        "JOIN events.job j ON j.id = r.job_id LEFT JOIN events.run_end e ON e.run_id = r.id "
        "LEFT JOIN events.run_queue q ON q.run_id = r.id ORDER BY r.number"
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["name"].removeprefix("shop."), []).append(row["state"])
    return found


async def test_waiting_for_children_takes_no_place_in_the_pool(stage: Stage) -> None:
    shop = Shop()
    events = await stage.running(shop.module, concurrency={"batch": 1})
    runs = [await events.jobs.start(shop.parent, [number]) for number in range(1, 6)]
    assert [await within(events.jobs.result(run, timeout=10)) for run in runs] == [[2], [4], [6], [8], [10]]


@pytest.mark.parametrize(
    ("policy", "child", "grand", "cleaned"),
    [
        ("cancel", "canceled", "canceled", True),
        ("terminate", "canceled", "canceled", True),
        ("abandon", "x", "x", False),
    ],
)
async def test_children_are_closed_with_the_run_that_spawned_them(
    stage: Stage, policy: str, child: str, grand: str, cleaned: bool
) -> None:
    shop = Shop(policy)
    events = await stage.running(shop.module, concurrency={"batch": 10})
    started = await events.jobs.start(shop.parent, [100, 50])
    await until(lambda: len([one for one in shop.seen if one.endswith("begins")]) == 3)
    assert await events.jobs.cancel(started, "not needed")

    async def closed() -> bool:
        found = await states(stage)
        return found["parent"] == ["canceled"] and found["child"] == [child] * 2 and found["grand"] == [grand]

    await until(closed)
    if cleaned:
        await until(lambda: any(one.endswith("ends") for one in shop.seen))
    else:
        assert not any(one.endswith("ends") for one in shop.seen)
    shop.go_on.set()


async def test_children_that_have_not_begun_are_closed_whoever_has_their_jobs(stage: Stage) -> None:
    module = Module("shop")

    @module.job(pool="elsewhere")
    async def child(job: JobContext[int]) -> None:
        await job.spawn(grand, job.input)

    @module.job(pool="elsewhere")
    async def grand(job: JobContext[int]) -> None:
        return None

    @module.job(retry=Retry(1))
    async def parent(job: JobContext[None]) -> None:
        for number in range(3):
            await job.spawn(child, number, on_parent_close="abandon" if number == 2 else "cancel")

    events = await stage.idle(module, pools=["batch"])
    await events.jobs.start(parent, None)
    await within(events.drain_once())
    assert await states(stage) == {"parent": ["completed"], "child": ["canceled", "canceled", "r"]}


async def test_a_branch_that_waits_for_its_child_hears_of_it_whatever_others_spawn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, looked = Module("shop"), asyncio.Event()
    spawn, look = FamilyStore.spawn, FamilyStore.children

    async def spawn_late(store: Any, claim: Any, child: Any, *given: Any) -> bool:
        if child.input == "2":
            await looked.wait()
        return await spawn(store, claim, child, *given)

    async def note(store: Any, *given: Any) -> Any:
        found = await look(store, *given)
        looked.set()
        return found

    monkeypatch.setattr(FamilyStore, "spawn", spawn_late)
    monkeypatch.setattr(FamilyStore, "children", note)

    @module.job(retry=Retry(1))
    async def child(job: JobContext[int]) -> int:
        return await job.signal("go", int)

    @module.job(retry=Retry(1))
    async def parent(job: JobContext[None]) -> Any:
        async def waits() -> Any:
            return await job.gather_children(await job.spawn(child, 1, id="first"))

        [results, _] = await asyncio.gather(waits(), job.spawn(child, 2, id="second"))
        return results

    events = await stage.idle(module)
    started = await events.jobs.start(parent, None)
    await within(events.drain_once())
    assert await states(stage) == {"parent": ["w"], "child": ["w", "w"]}
    [run] = await stage.rows("SELECT id FROM events.run WHERE input = '1'::jsonb")
    assert await events.jobs.signal(run["id"], "go", 7)
    await within(events.drain_once())
    assert await events.jobs.result(started, timeout=1) == [7]


async def test_a_spawn_that_would_never_end_is_refused(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def down(job: JobContext[int]) -> None:
        await job.spawn(down, max(job.input - 1, 0))
        await job.gather_children()

    events = await stage.idle(module)
    started = await events.jobs.start(down, 2)
    await events.drain_once()
    with pytest.raises(JobFailed):
        await events.jobs.result(started, timeout=1)
    messages = await stage.rows("SELECT error_message FROM events.run_end ORDER BY finished_at LIMIT 1")
    assert "that would never end" in messages[0]["error_message"]
