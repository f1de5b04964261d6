"""The end of every example: faults stop, time passes, and everything has to come to its end."""

from __future__ import annotations

from tests.properties.process import LEASE, POLL
from tests.properties.world import World

ROUNDS = 30


def finale(world: World) -> None:
    """All is settled or waits behind a dead letter; once those are redriven, nothing waits any more."""
    world.note("finale")
    world.scripts.clear()
    for publication in list(world.publications):
        world.end(publication, commit=True)
    for worker in list(world.workers):
        if worker.is_frozen:
            world.thaw(worker)
    while world.hanging:
        world.finish(0, "succeed")
    _pass_all(world)
    for options in world.paused():
        world.operate("resume", **options)
        _pass_all(world)
    up = [worker for worker in world.workers if worker.is_up]
    for worker in up[2:]:
        world.crash(worker)
    if not up:
        world.start_worker()
    _bring_to_rest(world)
    if dead := [row.id for row in world.model.dead()]:
        world.operate("redrive", dead)
        _bring_to_rest(world)
        if dead := world.model.dead():
            world.fail(f"redriven, and dead again without a failure: {dead}")


def _bring_to_rest(world: World) -> None:
    _pass_all(world)
    for number in range(ROUNDS):
        left = world.model.unsettled()
        if not left and not world.pending:
            return
        world.pass_time(LEASE + 1 if number % 4 == 0 else POLL)
        world.wake_all("everything")
        _pass_all(world)
    world.fail(f"after everything has stopped failing, these never come to their end: {world.model.unsettled()}")


def _pass_all(world: World, most: int = 3000) -> None:
    while calls := world.eligible:
        world.execute(calls[0])
        most -= 1
        if not most:
            world.fail(f"the workers never come to rest: {[call.label for call in calls]}")
