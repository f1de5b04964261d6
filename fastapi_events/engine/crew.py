"""A crew of hands that work through chains of attempts: chains at the same time, each chain in its order.

Hands share one watch on the clock. An attempt that outlives its time-out is given up at once: its hand is cancelled and
left behind, and a new hand goes on with the chain, whatever the handler does with the cancellation. (A task and a timer
per attempt would cost more than the rest of the dispatch.)
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from fastapi_events.engine.executor import Executor, Run, interrupted, timed_out
from fastapi_events.model.context import Footprint
from fastapi_events.model.outcome import Outcome

SLICE = 0.01
"""Seconds for which a hand may work without letting the event loop attend to anything else."""


class Chain(Protocol):
    """Attempts to be made one after the other; what comes next depends on what became of the one before."""

    def next(self) -> Run | None:
        """The next attempt, or None at the end."""
        ...

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Take note of what became of an attempt."""
        ...

    def release(self) -> None:
        """Take note that no further attempt will be made: the process stops."""
        ...


class _Hand:
    __slots__ = ("chain", "deadline", "run", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.run: Run | None = None
        self.chain: Chain | None = None
        self.deadline = 0.0


class Crew:
    """Works through chains with at most ``limit`` hands. One crew serves one batch after the other."""

    def __init__(self, executor: Executor, limit: int) -> None:
        self._executor, self._limit = executor, limit
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._chains: deque[Chain] = deque()
        self._hands: set[_Hand] = set()
        self._unfinished = 0
        self._finished = asyncio.Event()
        self._next_check = float("inf")
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.left_behind: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether chains are still being worked through."""
        return bool(self._unfinished)

    async def work(self, chains: Iterable[Chain]) -> None:
        """Work through the chains and return when each is at its end."""
        self._context = contextvars.copy_context()
        self._chains.extend(chains)
        self._unfinished = len(self._chains)
        if not self._unfinished:
            return
        self._finished.clear()
        self._grow()
        await self._finished.wait()

    def stop_starting(self) -> None:
        """Begin no further attempt; those that run go on."""
        self._stopping = True

    def interrupt(self) -> None:
        """Give up every attempt that runs."""
        self._stopping = True
        for hand in list(self._hands):
            if hand.run is not None and hand.chain is not None:
                self._give_up(hand, interrupted("the process stopped before the handler was done"))

    def _grow(self) -> None:
        """Add a hand, and look again once it has had its turn: hands that never wait need no company."""
        if self._chains and len(self._hands) < self._limit:
            hand = _Hand()
            self._hands.add(hand)
            hand.task = self._loop.create_task(self._serve(hand), context=self._context.copy())
            self._loop.call_soon(self._grow)

    async def _serve(self, hand: _Hand) -> None:
        began = self._loop.time()
        footprint = Footprint()
        while self._chains:
            chain = hand.chain = self._chains.popleft()
            while (run := self._begin(hand, chain)) is not None:
                outcome = await self._executor.run(run)
                if run.abandoned:
                    return
                hand.run = None
                if outcome.failure is not None:
                    outcome = replace(outcome, duration=self._loop.time() - hand.deadline + run.handler.timeout)
                chain.settle(run, outcome)
                if footprint.changed():
                    # Context variables that a handler has set are its own: the next one begins with a clean context.
                    self._chains.appendleft(chain)
                    self._hands.discard(hand)
                    self._grow()
                    return
                if self._loop.time() - began > SLICE:
                    await asyncio.sleep(0)
                    began = self._loop.time()
            hand.chain = None
            self._finish_chain()
        self._hands.discard(hand)

    def _begin(self, hand: _Hand, chain: Chain) -> Run | None:
        if self._stopping:
            chain.release()
            return None
        run = chain.next()
        if run is not None:
            hand.run = run
            hand.deadline = deadline = self._loop.time() + run.handler.timeout
            if deadline < self._next_check:
                self._check_at(deadline)
        return run

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
        for hand in [h for h in self._hands if h.run is not None and h.deadline <= now]:
            if hand.run is not None:
                self._give_up(hand, timed_out(hand.run))
        pending = [hand.deadline for hand in self._hands if hand.run is not None]
        if pending and self._timer is None:
            self._check_at(min(pending))

    def _give_up(self, hand: _Hand, outcome: Outcome) -> None:
        run, chain, task = hand.run, hand.chain, hand.task
        if run is None or chain is None or task is None:
            return
        self._hands.discard(hand)
        self.left_behind.add(task)
        task.add_done_callback(self.left_behind.discard)
        run.abandon()
        task.cancel()
        chain.settle(run, outcome)
        self._chains.appendleft(chain)
        self._grow()
