"""A crew of hands that work through chains of attempts: chains at the same time, each chain in its order.

Hands share one watch on the clock. An attempt that outlives the inline budget is detached: its hand goes on with it
alone, and a new hand goes on with the chain. One that outlives its time-out is given up at once: its hand is cancelled
and left behind, whatever the handler does with the cancellation. (A task and a timer per attempt would cost more than
the rest of the dispatch.)
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from fastapi_events.engine.chain import Chain, Runs
from fastapi_events.engine.detached import Detached
from fastapi_events.engine.hand import Hand
from fastapi_events.engine.outcomes import given_up, interrupted
from fastapi_events.engine.run import Run
from fastapi_events.model.context import Footprint
from fastapi_events.model.outcome import Outcome

SLICE = 0.01
"""Seconds for which a hand may work without letting the event loop attend to anything else."""


class Crew:
    """Works through chains with at most ``limit`` hands. One crew serves one batch after the other, or is fed.

    An attempt that runs for longer than ``budget`` seconds is detached, and counts among the hands until it ends; where
    ``detached`` is None there is nobody to take it, and none is.
    """

    def __init__(self, executor: Runs, limit: int, detached: Detached | None, budget: float = float("inf")) -> None:
        self._executor, self.limit, self._detached, self._budget = executor, limit, detached, budget
        self._away, self.fewer = 0, False  # whether the limit was lowered: hands above it begin no further chain
        self._ahead: dict[Chain, Run] = {}
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._chains: deque[Chain] = deque()
        self._hands: dict[Hand, None] = {}  # oldest first: their turn is by age, not by address
        self._unfinished = 0
        self._error: BaseException | None = None
        self._finished = asyncio.Event()
        self._next_check = float("inf")
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.on_broken: Callable[[BaseException], None] | None = None
        """Told of a defect of ours that has ended its work, once everything is settled but that; raises nothing."""
        self.left_behind: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether chains are still being worked through."""
        return bool(self._unfinished)

    @property
    def has_more(self) -> bool:
        """Whether chains wait for a hand."""
        return bool(self._chains)

    @property
    def hands(self) -> list[Hand]:
        """The hands at work, without those that have gone with a detached attempt."""
        return list(self._hands)

    async def work(self, chains: Iterable[Chain]) -> None:
        """Work through the chains and return when each is at its end."""
        self._context = contextvars.copy_context()
        self._chains.extend(chains)
        self._unfinished = len(self._chains)
        if not self._unfinished:
            return
        self._finished.clear()
        self._error = None
        self._grow()
        await self._finished.wait()
        if self._error is not None:
            raise RuntimeError("a batch could not be worked through; it is read again") from self._error

    def add(self, chains: Iterable[Chain]) -> None:
        """Have further chains worked through, beside those that are, without waiting for them."""
        before = len(self._chains)
        self._chains.extend(chains)
        self._unfinished += len(self._chains) - before
        if self._unfinished:
            self._finished.clear()
            self._grow()

    async def rest(self) -> None:
        """Return when nothing is being worked through; raises what ``work`` would."""
        if self._unfinished:
            await self._finished.wait()
        if self._error is not None:
            raise RuntimeError("chains could not be worked through") from self._error

    def restart_clock(self, run: Run) -> None:
        """Let an attempt's time begin anew."""
        for hand in self._hands:
            if hand.run is run:
                self._start_clock(hand, run)

    def take_back(self) -> list[Chain]:
        """Take the chains back that no hand has begun to work through."""
        waiting = list(self._chains)
        self._chains.clear()
        for _ in waiting:
            self._finish_chain()
        return waiting

    def stop_starting(self) -> None:
        """Begin no further attempt; those that run go on."""
        self._stopping = True
        self._grow()

    def interrupt(self) -> None:
        """Give up every attempt that runs."""
        self._stopping = True
        for hand in list(self._hands):
            if hand.run is not None and hand.chain is not None:
                stopped = interrupted("the process stopped before the handler was done")
                self.give_up(hand, hand.run.outcome or stopped)

    def _grow(self) -> None:
        """Add a hand, and look again once it has had its turn: hands that never wait need no company."""
        if self._chains and len(self._hands) < max(self.limit - self._away, int(self._stopping)):
            hand = Hand()
            self._hands[hand] = None
            hand.task = self._loop.create_task(self._serve(hand), context=self._context.copy())
            self._loop.call_soon(self._grow)

    async def _serve(self, hand: Hand) -> None:
        try:
            await self._work_through(hand)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the batch
            if hand in self._hands:
                self._fail(error)
        finally:
            self._hands.pop(hand, None)

    async def _work_through(self, hand: Hand) -> None:
        began = self._loop.time()
        footprint = Footprint()
        while self._chains:
            chain = hand.chain = self._chains.popleft()
            while (run := self._begin(hand, chain)) is not None:
                outcome = await self._executor.run(run)
                if hand.away is not None:
                    if not hand.away.done():
                        hand.away.set_result(outcome)
                    return
                if run.abandoned:
                    return
                hand.run = None
                if outcome.failure is not None and run.outcome is None:
                    now = self._loop.time()
                    outcome = replace(outcome, duration=now - (now if run.began is None else run.began))
                chain.settle(run, outcome)
                if footprint.changed() or (hand.task is not None and hand.task.cancelling()):
                    # Context variables that a handler has set, and a cancellation of the task it ran in, are its own:
                    # a fresh hand goes on.
                    self._chains.appendleft(chain)
                    self._hands.pop(hand, None)
                    self._grow()
                    return
                if self._loop.time() - began > SLICE:
                    await asyncio.sleep(0)
                    began = self._loop.time()
            hand.chain = None
            self._finish_chain()
            if self.fewer and len(self._hands) > max(self.limit - self._away, 1):
                return

    def _fail(self, error: BaseException) -> None:
        """A defect of ours: nothing of the batch may count as handled, and nobody may wait for it."""
        self._error = error
        self._chains.clear()
        self._ahead.clear()
        for hand in list(self._hands):
            self._leave(hand)
        self._unfinished = 0
        self._cancel_timer()
        self._finished.set()
        if self.on_broken is not None:
            self.on_broken(error)

    def _begin(self, hand: Hand, chain: Chain) -> Run | None:
        ahead = self._ahead.pop(chain, None) if self._ahead else None
        if self._stopping:
            if ahead is not None:
                chain.settle(ahead, Outcome("interrupted"))
            chain.release()
            return None
        run = ahead or chain.next()
        if run is not None:
            hand.run = run
            if run.handler.sets_clock:
                # Waiting for a connection or a thread is not the handler's time: its clock starts when it has one.
                run.on_start = functools.partial(self._start_clock, hand, run)
                run.on_wait = functools.partial(self._stop_clock, hand, run)
                if run.handler.outside is None:
                    run.wait()
                else:
                    run.start()
            else:
                self._start_clock(hand, run)
        return run

    def _start_clock(self, hand: Hand, run: Run) -> None:
        run.began = self._loop.time()
        timeout = run.handler.timeout
        hand.deadline = run.began + timeout
        hand.due = due = run.began + (timeout if timeout < self._budget else self._budget)  # noqa: FURB136 - a call costs more
        if due < self._next_check:
            self._check_at(due)

    def _stop_clock(self, hand: Hand, run: Run) -> None:
        run.began = None
        hand.due = hand.deadline = float("inf")

    def _finish_chain(self) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self._cancel_timer()
            self._finished.set()

    def _check_at(self, deadline: float) -> None:
        self._cancel_timer()
        self._next_check = deadline
        self._timer = self._loop.call_at(deadline, self._check)

    def _cancel_timer(self) -> None:
        self._next_check = float("inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._cancel_timer()
        now = self._loop.time()
        for hand in [h for h in self._hands if h.run is not None and h.due <= now]:
            if hand.run is None:
                continue
            if hand.deadline <= now:
                self.give_up(hand, given_up(hand.run))
            else:
                self.detach(hand)
        pending = min((hand.due for hand in self._hands if hand.run is not None), default=float("inf"))
        if pending < float("inf") and self._timer is None:
            self._check_at(pending)

    def give_up(self, hand: Hand, outcome: Outcome) -> None:
        """Record this of a hand's attempt, whatever becomes of it, and go on with its chain."""
        run, chain = hand.run, hand.chain
        if run is None or chain is None:
            return
        run.outcome = outcome
        self._leave(hand)
        chain.settle(run, outcome)
        self._chains.appendleft(chain)
        self._grow()

    def detach(self, hand: Hand) -> None:
        """Let a hand go on with its attempt alone; a new one goes on with the chain."""
        run, chain = hand.run, hand.chain
        if run is None or chain is None or self._detached is None:
            return
        hand.away = self._loop.create_future()
        away = self._detached.take(run, hand.task, hand.away)
        self._hands.pop(hand, None)
        self._away += 1
        if away.watch is not None:
            away.watch.add_done_callback(self._came_back)
        chain.detach(away)
        # A chain that is at its end needs no hand: every one may be away.
        following = None if self._stopping else chain.next()
        if following is None and not self._stopping:
            self._finish_chain()
            return
        if following is not None:
            self._ahead[chain] = following
        self._chains.appendleft(chain)
        self._grow()

    def _came_back(self, _: object) -> None:
        self._away -= 1
        self._grow()

    def _leave(self, hand: Hand) -> None:
        """Leave a hand behind: whatever its handler does from now on comes to nothing."""
        self._hands.pop(hand, None)
        if hand.run is not None:
            hand.run.abandon()
        if hand.task is not None and hand.task is not asyncio.current_task():
            self.left_behind.add(hand.task)
            hand.task.add_done_callback(self.left_behind.discard)
            hand.task.cancel()
