"""A renamed handler is one handler, whichever release a process runs and whichever starts when."""

import pytest

from fastapi_events import Events, HandlerSession, Module, Retry
from tests.delivery.stage import Placed, Stage, effect, publish, until

OLD, NEW = "pay.charge", "pay.charge_card"


def release(seen: list[tuple[str, int]], *names: str, was: tuple[str, ...] = ()) -> Module:
    """A module with one handler under the first name, and further ones without a past."""
    module = Module("pay")

    def add(name: str, was: tuple[str, ...]) -> None:
        async def handle(event: Placed, session: HandlerSession) -> None:
            await effect(session, name, event.number)
            seen.append((name, event.number))

        module.on(Placed, id=name, was=was)(handle)

    for number, name in enumerate(names):
        add(name, was if number == 0 else ())
    return module


async def numbers(stage: Stage) -> list[int]:
    return [row["number"] for row in await stage.rows("SELECT number FROM effect ORDER BY written")]


async def names(stage: Stage) -> list[str]:
    return [row["name"] for row in await stage.rows("SELECT name FROM events.handler ORDER BY id")]


async def run(stage: Stage, module: Module, *published: int) -> None:
    """Start a release, let it handle what it publishes, and stop it."""
    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=number) for number in published])
    await events.drain_once()
    await events.stop()


async def test_a_rename_that_is_rolled_back_and_done_again_repeats_no_effect(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    await run(stage, release(seen, OLD), 1)
    await run(stage, release(seen, NEW, was=(OLD,)), 2)
    await run(stage, release(seen, OLD), 3, 4)
    await run(stage, release(seen, NEW, was=(OLD,)), 5)
    assert await numbers(stage) == [1, 2, 3, 4, 5]
    assert seen == [(NEW if number in (2, 5) else OLD, number) for number in range(1, 6)]
    assert await names(stage) == [NEW]
    assert await stage.deliveries() == []


@pytest.mark.parametrize("first", ["old", "new"])
async def test_both_releases_handle_as_one_handler_whichever_starts_first(stage: Stage, first: str) -> None:
    seen: list[tuple[str, int]] = []
    old, new = release(seen, OLD), release(seen, NEW, was=(OLD,))
    modules = (old, new, old) if first == "old" else (new, old, new)  # the last one is a restart during the rollout
    instances = [await stage.running(module) for module in modules]
    for number in range(1, 31):
        await publish(instances[number % 3], [Placed(order=f"{number % 7}", number=number)])
    await until(lambda: len(seen) >= 30)
    for events in instances:
        await events.stop()
    assert sorted(await numbers(stage)) == list(range(1, 31))
    assert await names(stage) == [NEW]
    assert await stage.deliveries("waiting") == []


async def test_an_old_process_learns_of_the_rename_and_goes_on(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    old = await stage.idle(release(seen, OLD))
    await stage.idle(release(seen, NEW, was=(OLD,)))
    await publish(old, [Placed(order="a", number=1)])
    await old.drain_once()
    assert seen == [(OLD, 1)]
    assert await stage.deliveries() == []


async def test_the_queue_of_one_name_is_worked_off_under_the_other(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    module = Module("pay")

    @module.on(Placed, id=NEW, was=(OLD,), retry=Retry(1))
    async def broken(event: Placed, session: HandlerSession) -> None:
        raise ValueError("broken in the new release")

    await run(stage, module, 1, 2)
    [dead] = await stage.deliveries("dead")
    old = await stage.idle(release(seen, OLD))
    await old.operations.redrive([dead["id"]], actor="me")
    await old.drain_once()
    assert seen == [(OLD, 1), (OLD, 2)]
    assert {row["handler"] for row in await stage.deliveries("done")} == {NEW}


async def test_every_name_of_a_row_of_renames_leads_to_it(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    await run(stage, release(seen, "pay.a"), 1)
    await run(stage, release(seen, "pay.b", was=("pay.a",)), 2)
    await run(stage, release(seen, "pay.c", was=("pay.b",)), 3)
    await run(stage, release(seen, "pay.a"), 4)
    await run(stage, release(seen, "pay.b", was=("pay.a",)), 5)
    await run(stage, release(seen, "pay.d", was=("pay.a",)), 6)
    assert await numbers(stage) == [1, 2, 3, 4, 5, 6]
    assert await names(stage) == ["pay.d"]


async def test_a_rename_may_be_taken_back_by_a_declaration(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    await run(stage, release(seen, NEW, was=(OLD,)), 1)
    await run(stage, release(seen, OLD, was=(NEW,)), 2)
    assert await names(stage) == [OLD]
    await run(stage, release(seen, NEW), 3)
    assert await names(stage) == [OLD]
    assert await numbers(stage) == [1, 2, 3]


async def test_a_new_handler_may_have_the_name_that_another_had(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    await run(stage, release(seen, OLD), 1)
    both = release(seen, NEW, OLD, was=(OLD,))
    await run(stage, both, 2)
    await run(stage, both, 3)
    assert await names(stage) == [NEW, OLD]
    assert sorted(seen) == [(OLD, 1), (OLD, 2), (OLD, 3), (NEW, 2), (NEW, 3)]


async def test_names_may_move_on_along_a_row_of_handlers(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    await run(stage, release(seen, "pay.a", "pay.b"), 1)
    module = Module("pay")
    for name, was in (("pay.b", "pay.a"), ("pay.c", "pay.b")):

        async def handle(event: Placed) -> None: ...

        module.on(Placed, id=name, was=(was,))(handle)
    await run(stage, module)
    assert await names(stage) == ["pay.b", "pay.c"]


async def revision(events: Events) -> int:
    await events.runtime.refresh_plan()
    return events.runtime.plan.revision


async def test_registering_again_what_is_known_changes_nothing(stage: Stage) -> None:
    old = await stage.idle(release([], OLD))
    await stage.idle(release([], NEW, was=(OLD,)))
    before = await revision(old)
    await stage.idle(release([], OLD))
    await stage.idle(release([], NEW, was=(OLD,)))
    assert await revision(old) == before
