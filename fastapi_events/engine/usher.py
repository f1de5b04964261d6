"""Makes way for the events that wait behind a batch, where only slow attempts are left of it.

The inline budget bounds how long an attempt may hold up its lane when nobody waits. When others do, what has run for
the contended budget is detached, as soon as nothing of the batch is left to be begun. Detaching costs deliveries, those
of the attempts and of what is parked behind them; so after some there is a rest in proportion, in which batches grow: a
flow of handlers that take a while is handled in batches, not delivery by delivery.

An attempt that waits for a connection or a thread is handed to the retry side, at no attempt, where the whole batch
has waited for an inline budget's time: whoever holds what it waits for has been detached and may hold it for long.
"""

from __future__ import annotations

import asyncio

from fastapi_events.engine.crew import Crew
from fastapi_events.engine.hand import Hand
from fastapi_events.engine.outcomes import interrupted
from fastapi_events.engine.run import Run
from fastapi_events.store.cursors import Settlement

REST = 0.02
"""Seconds of rest for each attempt that made way: at most fifty a second in a lane, each with statements of its own."""
REST_OF_FOLLOWERS = 0.001
"""The same for each event that was parked behind one: those are written, and read again, many at a time."""
_NO_SLOT = "no connection or thread became free: slow handlers hold them; tried again as soon as there is one"


class Usher:
    """One for each drain loop; ``attend`` gives it the batch. Budgets in seconds."""

    def __init__(self, contended_budget: float, inline_budget: float) -> None:
        self.budget, self._inline_budget = min(contended_budget, inline_budget), inline_budget
        self._loop = asyncio.get_running_loop()
        self._rested = 0.0
        self._all_begun: float | None = None
        self._waiting: dict[Hand, tuple[Run, float]] = {}
        self._stuck = False

    def attend(self, crew: Crew, left: Settlement) -> None:
        """Attend to the batch that this crew works through, and that leaves this behind."""
        self._crew, self._left = crew, left
        self._all_begun, self._stuck = None, False
        self._waiting.clear()

    def make_way(self) -> float:
        """Part the batch in hand from its slow attempts; returns the seconds after which to ask again."""
        now = self._loop.time()
        if now < self._rested:
            return max(self._rested - now, self.budget)
        before = len(self._left.deliveries)
        parted = self._detach_slow(now) + self._hand_over_waiting(now)
        followers = max(len(self._left.deliveries) - before - parted, 0)
        self._rested = now + REST * parted + REST_OF_FOLLOWERS * followers
        return self.budget

    def _detach_slow(self, now: float) -> int:
        """Detach what is slow; returns how many attempts."""
        parted = 0
        if self._crew.has_more:
            self._all_begun = None
            return parted
        if self._all_begun is None:
            self._all_begun = now
        # A chain of many short attempts is parted too, behind the one that runs when its time is over.
        over = now - self._all_begun >= self._inline_budget
        for hand in self._crew.hands:
            run = hand.run
            if run is None or run.began is None or run.item.many:
                continue  # a list takes as long as a batch, and would leave a delivery for each of its events
            if over or now - run.began >= self.budget:
                self._crew.detach(hand)
                parted += 1
        return parted

    def _hand_over_waiting(self, now: float) -> int:
        """Give up what waits for others' slots; returns how many attempts."""
        waiting = {hand: hand.run for hand in self._crew.hands if hand.run is not None and hand.waits_for_slot}
        if len(waiting) < len(self._crew.hands):
            self._waiting, self._stuck = {}, False  # somebody runs, and may make room
            return 0
        known = self._waiting
        self._waiting = {
            hand: known[hand] if hand in known and known[hand][0] is run else (run, now)
            for hand, run in waiting.items()
        }
        patience = self.budget if self._stuck else self._inline_budget
        impatient = [hand for hand, (_, since) in self._waiting.items() if now - since >= patience]
        for hand in impatient:
            self._stuck = True
            self._crew.give_up(hand, interrupted(_NO_SLOT))
        return len(impatient)
