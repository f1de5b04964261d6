"""The loop that works on replays: nothing at all while there is none, and behind what is live otherwise."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from fastapi_events.engine.attempt import attempt, attempt_plain
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.gates import Gates
from fastapi_events.engine.handlers import Handler, HandlerPlan
from fastapi_events.engine.infrastructure import is_infrastructure, is_refusal
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.replaying.brake import Brake
from fastapi_events.engine.replaying.manners import Manners
from fastapi_events.engine.replaying.share_work import ShareWork
from fastapi_events.engine.run import Run
from fastapi_events.engine.service import Loop
from fastapi_events.engine.suspicion import tell_of_suspects
from fastapi_events.engine.wake import wait_for_flag
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.replay_shares import ReplayShareStore, RunningReplay, Share, ShareClaim, ShareResult

CHUNK = 100
"""Events that are taken at once of one share."""
LONGEST_CHUNK = 1.0
"""Seconds after which no further event of a chunk is begun: what was done is recorded first."""
PACE = 0.1
"""Seconds between looks at a replay that has a rate, at least."""
LOOK_AGAIN = 0.5
"""Seconds between looks at replays that go on, when there was nothing to take."""


class Replays(Loop):
    """Works on the replays of the handlers that this process has, with a few hands; each goes through one share.

    A process learns of a replay as it learns of new handlers; while it knows of none, it asks the database nothing.
    """

    name = "replays"

    def __init__(
        self, store: ReplayShareStore, executor: Executor, plan: HandlerPlan, gates: Gates, *, concurrency: int,
        heartbeat: float, live_at_rest: Callable[[], Awaitable[None]], caught_up: Callable[[], Awaitable[None]],
        committed: Callable[[Collection[LogPlace]], None], keys_due: Callable[[], None], lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._store, self._executor, self._plan, self._gates = store, executor, plan, gates
        self.concurrency, self._heartbeat, self._manners = concurrency, heartbeat, Manners(live_at_rest)
        self._committed, self._keys_due, self._lost = committed, keys_due, lost
        self._caught_up = caught_up
        self._flag, self._cut_off = asyncio.Event(), asyncio.Event()
        self._cut: asyncio.Future[None] | None = None
        self._calls = 0
        self._known: dict[UUID, RunningReplay] = {}
        self._wait: float | None = None
        self._held: set[ShareClaim] = set()
        self._brakes: dict[UUID, Brake] = {}
        self._one_by_one: set[UUID] = set()
        self._one_at_a_time = asyncio.Lock()
        # Of the two bookkeeping connections one is always left to what is live.
        self._line = asyncio.Lock()

    def look(self) -> None:
        """Handlers have changed, or replays: find out what is to be done."""
        self._calls += 1
        self._flag.set()

    def interrupt(self) -> None:
        self._flag.set()

    async def start(self) -> None:
        """Begin; idempotent."""
        self._cut_off.clear()
        self._cut = asyncio.get_running_loop().create_future()
        self._flag.set()
        await super().start()

    async def stop(self, grace: float = 5.0) -> None:
        """Begin no further event, let those that run finish for ``grace`` seconds, and give the shares back."""
        task = self._task
        self.stopping.set()
        self.interrupt()
        if task is not None:
            await asyncio.wait({task}, timeout=grace)
        self._cut_off.set()
        if self._cut is not None and not self._cut.done():
            self._cut.set_result(None)
        await super().stop(5.0)

    async def recover(self) -> None:
        """Leases of what was held run out by themselves."""
        self._flag.set()

    async def turn(self) -> None:
        await wait_for_flag(self._flag, math.inf if self._wait is None else self._wait)
        if not self.stopping.is_set():
            await self._work(giving_way=True)

    async def drain(self) -> int:
        """Deliver everything that may be delivered now; returns the number of events. Rates hold here too."""
        handled = 0
        while (done := await self._work(giving_way=False)) or self._flag.is_set():
            handled += done
        return handled

    async def _work(self, *, giving_way: bool) -> int:
        async with self._one_at_a_time:
            self._flag.clear()
            handled = 0
            await self._look()
            if any(not replay.wait for replay in self._known.values()):
                handled = await self._hands(giving_way=giving_way)
                await self._look()
            known = self._known.values()
            paced = [max(replay.wait, PACE) for replay in known if replay.rate is not None]
            self._wait = min([0.0 if handled and not paced else LOOK_AGAIN, *paced]) if known else None
            return handled

    async def _look(self) -> None:
        """End the replays that are at their end, and read which go on."""
        async with self._line:
            caught_up = await self._store.finish(self._plan.numbers)
            running = await self._store.running(self._plan.numbers)
        self._known = {replay.id: replay for replay in running}
        self._brakes = {replay: brake for replay, brake in self._brakes.items() if replay in self._known}
        self._one_by_one &= set(self._known)
        if caught_up:
            await self._caught_up()

    async def _hands(self, *, giving_way: bool) -> int:
        """Work until there is nothing to take. While one hand is busy for long, nothing else waits for it: shares keep
        their leases, what is at its end is ended, and of the others one at a time looks again."""
        now = asyncio.get_running_loop().time
        hands = {asyncio.create_task(self._hand(number, giving_way=giving_way)) for number in range(self.concurrency)}
        handled, renewal, failed = 0, now() + self._heartbeat, list[asyncio.Task[int]]()
        try:
            while hands:
                ended, hands = await asyncio.wait(hands, timeout=min(self._heartbeat, LOOK_AGAIN))
                failed += [hand for hand in ended if hand.exception() is not None]
                handled += sum(hand.result() for hand in ended.difference(failed))
                if hands and now() >= renewal:
                    await self._beside(self._renew)
                    renewal = now() + self._heartbeat
                if failed:
                    self._flag.set()  # the others begin no further event, and then it is told
                elif hands and not self.stopping.is_set():
                    await self._look_beside()
                    if len(hands) < self.concurrency:
                        hands.add(asyncio.create_task(self._hand(len(hands), giving_way=giving_way)))
        finally:
            for hand in hands:
                hand.cancel()
        return handled + sum(hand.result() for hand in failed)

    async def _look_beside(self) -> None:
        """The flag is taken down only then, so that the hands begin nothing of what has been cancelled or paused."""
        calls = self._calls
        if await self._beside(self._look) and calls == self._calls:
            self._flag.clear()

    async def _beside(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Do it while hands are busy, whom a database that is away for a moment concerns later, if at all."""
        try:
            await step()
        except Exception as error:
            if not is_infrastructure(error):
                raise
            return False
        return True

    async def _renew(self) -> None:
        if self._held:
            async with self._line:
                await self._store.renew(list(self._held))

    async def _hand(self, number: int, *, giving_way: bool) -> int:
        """Take chunks of all replays in turn; each hand begins with another."""
        handled, found = 0, True
        while found:
            found, known = False, list(self._known.values())
            for at in range(len(known)):
                if self._flag.is_set() or self.stopping.is_set():
                    return handled
                if giving_way:
                    await self._manners.enter()
                count = await self._chunk(known[(number + at) % len(known)])
                handled, found = handled + (count or 0), found or count is not None
        return handled

    async def _chunk(self, replay: RunningReplay) -> int | None:
        """Deliver the next events of one share; how many it was, and None if there is nothing to take."""
        handler = self._plan.by_number.get(replay.handler_id)
        brake = self._brakes.setdefault(replay.id, Brake())
        if handler is None or handler.number in self._gates.stopped or brake.wait:
            return None
        async with self._line:
            share = await self._store.claim(replay.id, self._size(replay))
        if share is None:
            return None
        self._held.add(share.claim)
        try:
            return await self._deliver(ShareWork(share, handler), handler, brake)
        finally:
            self._held.discard(share.claim)

    def _size(self, replay: RunningReplay) -> int:
        if replay.id in self._one_by_one:
            return 1
        return CHUNK if replay.rate is None else max(min(CHUNK, int(replay.rate / 4)), 1)

    async def _deliver(self, work: ShareWork, handler: Handler, brake: Brake) -> int:
        loop = asyncio.get_running_loop()
        began, last = loop.time(), None
        for row in work.share.rows:
            if self._stops(work, handler, brake) or loop.time() > began + LONGEST_CHUNK:
                break
            run = work.run_for(row)
            if run is None:
                continue
            outcome = await self._attempt(run)
            if outcome.kind == "interrupted" and self._cut_off.is_set():
                break  # nothing is known of it: whoever goes on delivers it again
            brake.note(handler, outcome)
            work.settle(run, outcome)
            last = run
        else:
            work.finish()
        if work.suspects:
            tell_of_suspects(work.suspects, self._plan)
        await self._record(work, last)
        self._manners.leave(loop.time() - began)
        return work.result.done + work.result.failed + work.result.skipped

    async def _attempt(self, run: Run) -> Outcome:
        if run.handler.sets_clock or self._cut is None:
            return await attempt(self._executor, run, self._cut_off)
        return await attempt_plain(self._executor, run, self._cut)

    def _stops(self, work: ShareWork, handler: Handler, brake: Brake) -> bool:
        gone_on = work.share.claim.replay in self._known and handler.number not in self._gates.stopped
        return bool(self.stopping.is_set() or self._flag.is_set() or not gone_on or brake.wait)

    async def _record(self, work: ShareWork, last: Run | None) -> None:
        share, result = work.share, work.result
        try:
            settled = await self._settle(share, result)
        except Exception as error:
            if not is_refusal(error) or last is None:
                raise
            # What the database refuses it would refuse for ever: the event is found one by one, and dies.
            if len(share.rows) > 1:
                self._one_by_one.add(share.claim.replay)
                settled = await self._settle(share, ShareResult(share.position))
            else:
                settled = await self._settle(share, work.bury(last, error))
        if not settled:
            self._lost(1)
            return
        if result.deliveries:
            self._keys_due()
        if result.children:
            self._committed({child.place for child in result.children})

    async def _settle(self, share: Share, result: ShareResult) -> bool:
        async with self._line:
            return await patiently(lambda: self._store.settle(share, result))
