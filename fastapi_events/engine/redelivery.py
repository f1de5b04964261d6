"""The retry side: parked keys that are due are claimed, their deliveries run in order, and the key given back.

The lowest waiting position of a key is its head by definition; nothing is promoted, so no wake-up can be lost. The
first failure ends the run of its key; a dead head parks the key until an operator acts, unless the handler lets
followers pass.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from fastapi_events.engine.attempt import attempt
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.failure import failure_of
from fastapi_events.engine.gates import Gates, spared
from fastapi_events.engine.handlers import HandlerPlan
from fastapi_events.engine.infrastructure import is_refusal
from fastapi_events.engine.item import Item
from fastapi_events.engine.item_list import as_given
from fastapi_events.engine.key_results import enter_replay, note, tried_before
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.rooms import rooms_of
from fastapi_events.engine.run import Run
from fastapi_events.engine.service import Loop
from fastapi_events.engine.suspects import Suspects, note_alone, stops_at
from fastapi_events.engine.wake import Wake, wait_for_flag
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.parked import KeyClaim, KeyQueue, KeyResult, ParkedKeyStore

QUEUE_DEPTH = 20
"""Deliveries of one key that are read, and run, under one claim."""
ALONE_DEPTH = 2
"""The same of a key whose head is run alone: that, and whether something follows."""
CLAIM_LIMIT = 50
SHORTEST_WAIT = 0.05
"""Seconds until the next search after one that found nothing although a key is due: somebody has its row locked."""
HISTORY_WAIT = 0.5
"""Seconds between two searches at most while a handler is given the history that it begins with."""
LOOK_BACK = 2.0
"""Seconds that a quick search for due keys looks back behind the last one that left none. Keys due before that have
been claimed, and only leave dead index entries behind; a full search each poll interval finds the stragglers."""


class Redelivery(Loop):
    """Runs what was parked, for the handlers that this process has."""

    name = "redelivery"

    def __init__(
        self, store: ParkedKeyStore, executor: Executor, plan: HandlerPlan, wake: Wake, gates: Gates,
        suspects: Suspects, *, concurrency: int,
        poll_interval: Callable[[], float], committed: Callable[[Collection[LogPlace]], None],
        keys_due: Callable[[], None], lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._store, self._executor, self._plan, self._wake = store, executor, plan, wake
        self._gates, self._suspects = gates, suspects
        self.concurrency, self._poll_interval = concurrency, poll_interval
        self._committed, self._keys_due, self._lost = committed, keys_due, lost
        self._working: dict[asyncio.Task[None], KeyClaim] = {}
        self._cut_off = asyncio.Event()
        self._one_search = asyncio.Lock()
        self._begun = 0
        self._next_full_search = 0.0
        self._caught_up = 0.0
        self._next_due: float | None = 0.0
        self._unsettled: set[tuple[int, str]] = set()

    @property
    def claims(self) -> list[KeyClaim]:
        """The keys that this process is working on."""
        return [claim for claim in self._working.values() if not claim.alone] + self._suspects.claims

    async def start(self) -> None:
        """Begin; idempotent."""
        self._cut_off.clear()
        await super().start()

    def interrupt(self) -> None:
        self._wake.keys.set()

    async def recover(self) -> None:
        """Search everywhere next: what this loop believed to have seen may not be so."""
        self._next_full_search, self._next_due = 0.0, 0.0

    async def turn(self) -> None:
        wait = self._poll_interval() if self._next_due is None else min(self._next_due, self._poll_interval())
        probe = self._gates.next_probe if len(self._working) < self.concurrency else None
        called = await wait_for_flag(self._wake.keys, max(wait if probe is None else min(wait, probe), 0.0))
        if not self.stopping.is_set():
            async with self._one_search:
                await self._claim_due(full=not called and self._next_due is None)

    async def drain(self) -> int:
        """Run every key that is due now, until none is; returns the number of keys."""
        count = 0
        while claimed := await self._search_everywhere():
            count += claimed
            while self._working:
                await asyncio.wait(list(self._working))
        return count

    async def exhaust(self) -> None:
        """Return when no key is due and none is at work, whoever began it: ``drain``, or the loop beside it."""
        at_rest = False
        while not at_rest and not self.stopping.is_set():
            begun, idle = self._begun, not self._working
            at_rest = not await self.drain() and idle and self._begun == begun
            if self._working:
                await asyncio.wait(list(self._working))

    async def _search_everywhere(self) -> int:
        async with self._one_search:
            return await self._claim_due(full=True)

    async def stop(self, grace: float = 5.0) -> None:
        """Begin no attempt more, let running ones finish for ``grace`` seconds, and give the keys back."""
        await super().stop()
        if self._working:
            await asyncio.wait(list(self._working), timeout=grace)
        self._cut_off.set()
        if self._working:
            await asyncio.wait(list(self._working), timeout=5.0)
            self._keys_due()  # another process has to take them

    async def _claim_due(self, *, full: bool = False) -> int:
        now = asyncio.get_running_loop().time()
        full = full or now >= self._next_full_search
        room = min(CLAIM_LIMIT, self.concurrency - len(self._working))
        numbers = self._plan.numbers
        probes = await self._gates.probes(self._plan.by_number.values(), all_due=full) if room > 0 else frozenset[int]()
        busy = Counter(claim.handler_id for claim in self._working.values())
        everything = rooms_of(numbers, room, probes, busy=busy, most=self.concurrency, stopped=self._gates.stopped)
        if not everything:
            self._next_due = None
            return 0
        behind = self._gates.catching_up
        rooms = {number: most for number, most in everything.items() if number not in behind} if behind else everything
        look_back = None if full else now - self._caught_up + LOOK_BACK
        if full:
            self._next_full_search = now + self._poll_interval() * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
            self._suspects.expected = True
            if not behind and not probes and not await self._is_something_due(rooms):
                if not self._gates.paused_lanes and len(rooms) == len(numbers):
                    self._caught_up = now  # of one that is paused, or has all its hands full, nobody has asked
                return 0
        paused, reads = self._gates.paused_lanes, self._plan.reads
        claims = await self._claim_history(everything, room) if behind else []
        claims += await self._store.claim(
            rooms, reads, room - len(claims), look_back, probes=probes, paused_lanes=paused
        )
        taken = Counter(claim.handler_id for claim in claims)
        if len(claims) < room and not paused and all(taken[number] < rooms.get(number, 0) for number in numbers):
            self._caught_up = now
        alone = await self._claim_alone(everything, claims, probes)
        if not claims and not alone:
            self._next_due = await self._wait(list(rooms), look_back)
            if behind:
                self._next_due, self._suspects.expected = min(self._next_due or HISTORY_WAIT, HISTORY_WAIT), True
            return 0
        self._next_due = 0.0
        usual = await self._suspects.separate(claims, QUEUE_DEPTH)
        for queue in await self._store.read(usual, QUEUE_DEPTH) if usual else ():
            self._begin(self._drain_key(queue, QUEUE_DEPTH), queue.claim)
        if alone:
            queues = await self._store.read(alone, ALONE_DEPTH)
            one_by_one = self._suspects.run(queues, lambda queue: self._drain_key(queue, ALONE_DEPTH))
            self._begin(one_by_one, alone[0])
        return len(claims) + len(alone)

    async def _is_something_due(self, rooms: Collection[int]) -> bool:
        """Whether it is worth claiming: a process with nothing to do asks for this alone."""
        self._next_due = await self._wait(list(rooms), None)
        return self._next_due is not None and self._next_due <= SHORTEST_WAIT

    def _begin(self, work: Coroutine[Any, Any, None], claim: KeyClaim) -> None:
        task = asyncio.create_task(work)
        self._begun += 1
        self._working[task] = claim
        task.add_done_callback(self._finished)

    async def _claim_alone(
        self, rooms: Collection[int], taken: Sequence[KeyClaim], probes: frozenset[int]
    ) -> list[KeyClaim]:
        """Keys of which one delivery each is run alone, one after the other."""
        if self._runs_alone or not (self._suspects.expected or probes):
            return []
        paused = self._gates.paused_lanes
        return await self._suspects.claim(
            rooms, self._plan.reads, probes=probes, taken=taken, paused_lanes=paused, histories=self._gates.catching_up
        )

    async def _claim_history(self, rooms: Mapping[int, int], room: int) -> list[KeyClaim]:
        """Keys of the history that handlers begin with, before anything live of them."""
        replays = {number: replay for number, replay in self._gates.catching_up.items() if number in rooms}
        wanted, paused = {number: rooms[number] for number in replays}, self._gates.paused_lanes
        return await self._store.claim_history(wanted, replays, self._plan.reads, room, paused_lanes=paused)

    @property
    def _runs_alone(self) -> bool:
        return any(claim.alone for claim in self._working.values())

    async def _wait(self, handlers: list[int], look_back: float | None) -> float | None:
        """Seconds until it is worth looking again; None if nothing waits."""
        usual, alone = await self._store.next_due(handlers, self._plan.reads, look_back, self._gates.paused_lanes)
        self._suspects.expected = alone is not None
        waits = [due for due in (usual, None if self._runs_alone else alone) if due is not None]
        return (min(waits) if min(waits) > 0 else SHORTEST_WAIT) if waits else None

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._working.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note_failure(error if isinstance(error, Exception) else RuntimeError(str(error)))
        self._wake.keys.set()
        if self._wake.news.waiting:
            self._wake.news.tell()

    async def _drain_key(self, queue: KeyQueue, depth: int) -> None:
        handler, alone = self._plan.by_number[queue.claim.handler_id], queue.claim.alone
        result = KeyResult(queue.claim, queue.version, len(queue.rows) < depth, suspect=alone and bool(queue.rows))
        run: Run | None = None
        for row in queue.rows:
            if self._stops_before(row, queue, run):
                result.drained = False
                break
            if stops_at(row, queue.claim, run, result):
                break
            item = Item(row, lane=row["lane"], version=row["version_of_event"] or 0, xid=None)
            if item.version > handler.reads and (needs := item.versions.oldest) > handler.reads:
                result.leave_to(needs, row)
                break
            budget_used = row["attempts"] - row["attempts_before"]
            run = Run(handler, as_given(handler, item), budget_used + 1, redelivered=tried_before(row))
            run.probe = queue.claim.probe
            enter_replay(run, result, row)
            outcome = await (self._suspects.attempt(run, row, self._attempt) if alone else self._attempt(run))
            if run.replay is None or run.probe:  # what is wrong with history closes nothing to what is live
                self._gates.note(handler, outcome, probe=run.probe)
            if run.probe:
                outcome = spared(run, outcome)
            goes_on = note(result, row, run, outcome)
            if alone:
                note_alone(result, outcome)
            if run.probe and outcome.settled:
                result.drained = goes_on = False
            if not goes_on:
                break
        else:
            if queue.held and result.drained:
                result.drained, result.delay = False, None
        if not await self._settle(queue, result, run):
            self._lost(1)
            return
        if result.needs:
            self._keys_due()  # a process of the next release has to take it
        if result.children:
            self._committed({child.place for child in result.children})

    def _stops_before(self, row: Any, queue: KeyQueue, last: Run | None) -> bool:
        """Whether no further attempt of a claimed key is to be begun: the rest waits, as it is."""
        claim = queue.claim
        closed = not claim.probe and self._gates.keep(claim.handler_id, row["replay_id"])
        unsettled = last is not None and _key(queue) in self._unsettled
        return self.stopping.is_set() or closed or unsettled or row["lane"] in self._gates.paused_lanes

    async def _settle(self, queue: KeyQueue, result: KeyResult, last: Run | None) -> bool:
        """Record what became of a key, with patience for the infrastructure.

        What the database refuses otherwise, it would refuse for ever. The key's deliveries are then tried again one by
        one, and the one whose result is refused again is dead.
        """
        try:
            settled = await patiently(lambda: self._store.settle(result))
        except Exception as error:
            if not is_refusal(error) or last is None:
                raise
            self._note_failure(error)
            if len(result.results) > 1:
                self._unsettled.add(_key(queue))
                await self._store.release([queue.claim])
                return True
            result = KeyResult(queue.claim, queue.version, drained=False, replay=result.replay)
            dead = Outcome("dead", reason="unsettleable", failure=failure_of(error))
            note(result, queue.rows[0], last, dead)
            settled = await patiently(lambda: self._store.settle(result))
        if result.drained:
            self._unsettled.discard(_key(queue))
        return settled

    async def _attempt(self, run: Run) -> Outcome:
        return await attempt(self._executor, run, self._cut_off)


def _key(queue: KeyQueue) -> tuple[int, str]:
    return queue.claim.handler_id, queue.claim.slot
