"""Releases N-1 and N live side by side: nothing lost, nothing wrongly dead, each effect once and in order."""

import time

import pytest

from fastapi_events import Events
from tests.delivery.rollout import CHANGES, Rollout
from tests.delivery.stage import Stage, until

WAITS = {"a handler is added", "the payload changes"}
"""The changes of which release N-1 meets something that it cannot do."""


@pytest.mark.parametrize("change", CHANGES)
async def test_a_release_is_rolled_out(stage: Stage, change: str) -> None:
    await roll_out(stage, change, size=28)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES)
async def test_a_release_is_rolled_out_over_a_thousand_pending_events(stage: Stage, change: str) -> None:
    """Prints its figures: ``pytest -m long -s``."""
    rollout, met = await roll_out(stage, change, size=1_000)
    effects = sum(map(len, rollout.wanted.values()))
    print(
        f"\n{change}: {rollout.number} events, {effects} effects, each once; {met} deliveries waited for release N; "
        f"{time.monotonic() - rollout.began:.1f} s"
    )


async def roll_out(stage: Stage, change: str, size: int) -> tuple[Rollout, int]:
    """First web processes of the next release, then its workers beside the old ones, then it alone."""
    rollout = Rollout(stage, change, size)
    old, new = rollout.releases
    both = [name for _, name, _ in {*old.handlers, *new.handlers}]
    before = [name for _, name, _ in old.handlers]

    old_web = await stage.idle(old.module())
    await rollout.publish((old_web, old), to=before)  # pending when the deployment begins
    new_web = await stage.idle(new.module())
    await rollout.publish((old_web, old), (new_web, new), to=sorted(set(both)))
    await old_web.drain_once()
    met = await rollout.waiting()
    assert (met > 0) == (change in WAITS)

    old_worker = await stage.running(old.module(), batch_size=20)
    new_worker = await stage.running(new.module(), batch_size=20)
    await rollout.publish((old_web, old), (new_web, new), to=sorted(set(both)))
    await rollout.settled()

    for events in (old_worker, old_web):
        await events.stop()
    if change == "a handler is removed":
        await returned(rollout, new_web)
    else:
        await rollout.publish((new_web, new), to=[name for _, name, _ in new.handlers])
        await rollout.settled()
    await new_worker.stop()
    return rollout, met


async def returned(rollout: Rollout, new_web: Events) -> None:
    """Events for a handler that is gone wait until it comes back, which a roll-back is."""
    old, new = rollout.releases
    await rollout.publish((new_web, new), to=["charge", "mail"])

    async def all_wait() -> bool:
        return await rollout.waiting() == rollout.size

    await until(all_wait)
    await rollout.stage.running(old.module())
    await rollout.settled()
