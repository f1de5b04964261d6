"""The drain loop of one lane: claim → dispatch → handlers → settle, the next batch read while this one is handled.

Per batch: read k+1 while k is handled; settle k-1 before k. What this process holds are objects, one per claimed
partition; a batch belongs to its objects and is settled only while they are still the ones held.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from fastapi_events.engine.away import Away
from fastapi_events.engine.batch_reader import BatchReader
from fastapi_events.engine.crew import Crew
from fastapi_events.engine.detached import Detached
from fastapi_events.engine.dispatch import REMEMBERED_BATCHES, Dispatch, ParkedKeys
from fastapi_events.engine.drain_rules import DrainRules
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.gates import Gates
from fastapi_events.engine.handlers import HandlerPlan
from fastapi_events.engine.holding import Holding, Shares
from fastapi_events.engine.infrastructure import is_infrastructure, is_refusal
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.read_ahead import Call, ReadAhead
from fastapi_events.engine.refused_batch import RefusedBatch
from fastapi_events.engine.service import Loop
from fastapi_events.engine.suspicion import FOR_OTHERS, tell_of_suspects
from fastapi_events.engine.usher import Usher
from fastapi_events.engine.wake import Pace, Wake, wait_for_flag
from fastapi_events.model.lane import LANE_NAMES, LogPlace, place_of
from fastapi_events.store.cursors import Batch, CursorStore, HeldPartition, Settlement

logger = logging.getLogger("fastapi_events")


class LaneDrain(Loop):
    """Drains one lane for one group."""

    def __init__(
        self, lane: int, cursors: CursorStore, executor: Executor, plan: HandlerPlan, wake: Wake, rules: DrainRules,
        detached: Detached, gates: Gates, *,
        refresh_plan: Callable[[], object], poll_interval: Callable[[], float],
        committed: Callable[[Collection[LogPlace]], None], keys_due: Callable[[], None], lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self.name = f"drain of lane {LANE_NAMES.get(lane, lane)}"
        self._lane, self._cursors, self._executor, self._plan = lane, cursors, executor, plan
        self._wake, self._flag, self._rules = wake, wake.lanes[lane], rules
        self._refresh_plan, self._poll_interval = refresh_plan, poll_interval
        self._committed, self._keys_due, self._lost = committed, keys_due, lost
        self._crew: Crew | None = None
        self._usher = Usher(rules.contended_budget, rules.inline_budget)
        self._detached, self._away, self._gates = detached, dict[Away, None](), gates
        self._holding = Holding(self.name, lost)
        self._parked: ParkedKeys = {}
        self._number, self._pace, self.concurrency = 0, Pace(), rules.concurrency
        self._reader = BatchReader(self.name, cursors, rules.batch_size, poll_interval)
        self._one_at_a_time = asyncio.Lock()
        self._settling: asyncio.Task[None] | None = None
        self.last_drain: datetime | None = None

    async def turn(self) -> None:
        if self._pace.pause:
            await self._pause(self._pace.pause)
        now = asyncio.get_running_loop().time
        began, interval = now(), self._poll_interval()
        called = await wait_for_flag(self._flag, interval * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
        waited, where = now() - began, self._flag.take()
        if not self.stopping.is_set():
            # Whoever is called often still looks everywhere as often as if nobody called.
            hinted = called and now() - self._reader.looked_everywhere < interval
            self._pace.note(waited=waited, found=await self.drain(where if hinted else None))

    @property
    def batches(self) -> int:
        """How many batches have been begun, by whomever."""
        return self._number

    async def drain(self, where: Sequence[int] | None = None) -> int:
        """Claim and handle until nothing is left to claim; returns the number of events handled.

        ``where`` names the partitions to look at first (None: all). If nothing is there, the others are left alone.
        """
        async with self._one_at_a_time:  # a call by hand beside the loop: crew and settling serve one batch
            return await self._drain(where)

    async def _drain(self, where: Sequence[int] | None) -> int:
        handled = 0
        try:
            batch = await self._claim((), where)
            while batch.partitions:
                handled += batch.size
                batch = await self._handle(batch)
            if self._settling is not None:
                await self._settling
        finally:
            self.last_drain = datetime.now(UTC)
            if self._settling is not None and not self._settling.done():
                await asyncio.wait({self._settling}, timeout=1.0)
            self._settling = None
        return handled

    async def at_rest(self) -> None:
        """Return once it neither claims nor handles, if only for a moment."""
        async with self._one_at_a_time:
            return

    def interrupt(self) -> None:
        self._flag.set()
        if self._crew is not None:
            self._crew.stop_starting()

    async def stop(self, grace: float = 5.0) -> None:
        """Claim no more, let running handlers finish for ``grace`` seconds, and release the rest at once.

        Others are told what was let go of: they have looked there in vain while it was held.
        """
        task, let_go = self._task, [place_of(self._lane, number) for number in self._holding.numbers]
        self.stopping.set()
        self.interrupt()
        if task is not None:
            done, _ = await asyncio.wait({task}, timeout=grace)
            if not done and self._crew is not None:
                self._crew.interrupt()
        await super().stop(grace=5.0)
        self._crew = None
        if let_go:
            self._committed(let_go)

    async def recover(self) -> None:
        """Forget what was held: its leases run out, or are found to be free. Whatever woke this loop still waits."""
        self._holding.clear()
        self._flag.set()
        if self._crew is not None and self._crew.busy:
            self._crew.interrupt()
            self._crew = None
        self._follow(self._away, recorded=False)

    async def _handle(self, batch: Batch) -> Batch:
        """Handle one batch and return the next, which was read meanwhile."""
        if batch.revision != self._plan.revision:
            result = self._refresh_plan()
            if asyncio.iscoroutine(result):
                await result
        self._number += 1
        dispatch = Dispatch(
            batch, self._plan, self._lane,
            record_success=self._rules.record_success, parked=self._parked, number=self._number,
            lease=self._rules.lease, gates=self._gates,
        )  # fmt: skip
        more = any(share.place_after.target is not None for share in batch.partitions.values())
        ahead = ReadAhead(lambda: self._claim(batch))
        if more and not self.stopping.is_set():
            ahead.begin()
        try:
            await self._work(dispatch, ahead)
        finally:
            self._away.update(dict.fromkeys(dispatch.away))
        if dispatch.suspects:
            tell_of_suspects(dispatch.suspects, self._plan)
        following, problem = await ahead.result()
        if self._settling is not None:
            await self._settling
        keep: frozenset[int] = frozenset(following.partitions) if following is not None else frozenset()
        self._settling = asyncio.create_task(self._settle(batch, keep, dispatch))
        self._forget_old_parks()
        if problem is not None:
            await self._settling
            if not is_infrastructure(problem):
                raise problem
            # A lost connection loses nothing but this reading; if the server itself is gone, the next claim says so.
            logger.warning("%s: could not read ahead (%s)", self.name, type(problem).__name__)
        if following is None or not following.partitions:
            await self._settling
            # Everything is settled: what is parked is read from the database from here on.
            self._parked = {}
            return Batch({}, 0, 0) if self.stopping.is_set() else await self._claim(())
        return following

    async def _claim(self, current: Batch | tuple[()], where: Sequence[int] | None = None) -> Batch:
        if self._lane in self._gates.paused_lanes:
            return Batch({}, 0, 0)
        held: list[HeldPartition] = []
        if isinstance(current, Batch):
            share = math.ceil(self._rules.partitions / max(current.workers, 1))
            held = [part.held for part in current.partitions.values() if self._holding.holds(part)][:share]
        everywhere = not held and where is None
        if everywhere:  # whoever has called so far is heard by this reading
            self._flag.clear()
            self._flag.take()
        try:
            batch = await self._reader.read(held, where)
        except BaseException:
            if everywhere:
                self._flag.set()
            raise
        self._holding.enter(batch, {partition.number for partition in held})
        return batch

    async def _work(self, dispatch: Dispatch, ahead: ReadAhead) -> None:
        rules = self._rules
        crew = self._crew = self._crew or Crew(self._executor, self.concurrency, self._detached, rules.inline_budget)
        crew.limit = self.concurrency
        if self.stopping.is_set():
            crew.stop_starting()
        work = asyncio.create_task(crew.work(dispatch.chains()))
        try:
            done, _ = await asyncio.wait({work}, timeout=min(self._usher.budget, rules.heartbeat))
            if not done:
                self._usher.attend(crew, dispatch.settlement)
                await self._attend(work, crew, ahead, others=len(dispatch.items) >= rules.batch_size)
            return work.result()
        except Exception:
            crew.interrupt()  # nothing of this batch will be settled: nothing more of it may be begun
            self._crew = None
            raise
        finally:
            work.cancel()

    async def _attend(self, work: asyncio.Task[None], crew: Crew, ahead: ReadAhead, *, others: bool) -> None:
        """Wait for a batch that takes a while: extend leases, and make way for whoever waits behind it.

        ``others`` is whether somebody is taken to wait whatever is seen of it.
        """
        now, pause = asyncio.get_running_loop().time, self._rules.heartbeat
        renewal, called = now() + pause, asyncio.create_task(self._flag.wait())
        try:
            while not work.done():
                wait, calls = renewal - now(), ahead.under_way | ({called} if not called.done() else set[Call]())
                if not self.stopping.is_set() and (others or crew.has_more or called.done() or ahead.has_brought):
                    wait, calls = min(wait, self._usher.make_way()), set[Call]()
                await asyncio.wait({work, *calls}, timeout=max(wait, 0.0), return_when=asyncio.FIRST_COMPLETED)
                if now() >= renewal and not work.done():
                    await self._renew()
                    renewal = now() + pause
        finally:
            called.cancel()

    async def _renew(self) -> None:
        """Extend the leases of everything held while handlers take their time."""
        if self._settling is not None:
            await self._settling
        shares = self._holding.shares()
        if shares:
            keep = self._holding.numbers
            try:
                accepted = await self._cursors.settle(shares, keep, Settlement(datetime.now(UTC)))
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                logger.warning("%s: leases could not be extended (%s)", self.name, type(error).__name__)
                return
            self._holding.take_over(shares, accepted)

    async def _settle(self, batch: Batch, keep: frozenset[int], dispatch: Dispatch) -> None:
        self._holding.forget_outlived(batch)
        parts = [part for part in batch.partitions.values() if self._holding.holds(part)]
        try:
            await self._record([(part.held, part.place_after) for part in parts], keep, dispatch.settlement)
        except Exception as error:
            if not is_refusal(error):
                raise
            pieces = RefusedBatch(
                dispatch, keep, record=self._record, holds=self._holding.holds, parked=self._note_parked
            )
            await pieces.settle(parts, error)
        held = {part.held.number for part in parts if self._holding.holds(part)}
        for away in dispatch.away:
            self._follow({away}, recorded=away.run.item.partition in held)
        self._holding.release(parts, keep)
        if self._wake.news.waiting:
            self._wake.news.tell()

    async def _record(self, shares: Shares, keep: frozenset[int], what: Settlement) -> None:
        accepted = await patiently(lambda: self._cursors.settle(shares, keep, what))
        self._holding.take_over(shares, accepted)
        if any(self.stopping.is_set() or delivery["reason"] in FOR_OTHERS for delivery in what.deliveries):
            self._keys_due()  # another process has to take them
        elif what.deliveries:
            self._wake.parked()
        if what.children:
            self._committed({child.place for partition, child in what.children if partition in accepted})

    def _follow(self, attempts: Collection[Away], *, recorded: bool) -> None:
        """Settle detached attempts as they end, if their deliveries are recorded; else they count for nothing."""
        for away in list(attempts):
            self._away.pop(away, None)
            (self._detached.recorded if recorded else self._detached.forget)(away)

    def _note_parked(self, handler: int, key: str) -> None:
        self._parked[(handler, key)] = self._number

    def _forget_old_parks(self) -> None:
        if self._parked:
            oldest = self._number - REMEMBERED_BATCHES
            self._parked = {key: number for key, number in self._parked.items() if number > oldest}
