"""One broadcast handler's events in this process: in order per key, keys at the same time, nobody else held up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from fastapi_events.engine.away import Away
from fastapi_events.engine.broadcasting import report
from fastapi_events.engine.chain import Runs
from fastapi_events.engine.crew import Crew
from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.item import Item
from fastapi_events.engine.outcomes import outcome_of
from fastapi_events.engine.run import Run
from fastapi_events.model.lane import AUDIT
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.run_start import Sealed

ROOM = 1_000
"""Events that may wait for one handler; further ones are left in the log, which holds up the others' reading too."""


class PublishingRuns:
    """Makes attempts, and commits what a successful one has published in a transaction of its own."""

    def __init__(self, runs: Runs, append: Callable[[tuple[Sealed, ...]], Awaitable[None]]) -> None:
        self._runs, self._append = runs, append

    async def run(self, run: Run) -> Outcome:
        """One attempt; it has failed if its events could not be committed."""
        outcome = await self._runs.run(run)
        if not outcome.children or run.abandoned:
            return outcome
        try:
            await self._append(outcome.children)
        except Exception as error:  # noqa: BLE001 - an outcome like any other
            return outcome_of(run, error)
        return outcome


class Feed:
    """The events that wait for one handler, and those that it is called for."""

    def __init__(
        self, handler: Handler, runs: Runs, limit: int, *, failed: Callable[[], None], skipped: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.handler, self._runs, self._limit = handler, runs, limit
        self._failed, self._skipped = failed, skipped
        self._closed = False
        self._crew = self._new_crew()
        self._chains: dict[str, _KeyChain] = {}
        self._new: list[_KeyChain] = []
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._waiting: dict[Item, None] = {}
        self._dropped = 0

    def takes(self, lane: int, name: str) -> bool:
        """Whether the handler wants events of this name from this lane."""
        return self.handler.declaration.hears(name, audit=lane == AUDIT)

    def put(self, item: Item) -> None:
        """Have the handler called for an event, after those of its key; ``begin`` sets it going.

        What is newer than the handler's class is skipped: nothing keeps it for the release that could read it.
        """
        if item.version > self.handler.reads and item.versions.oldest > self.handler.reads:
            self._skipped(1)
            report.newer(self.handler, item)
            return
        self._waiting[item] = None
        if len(self._waiting) >= ROOM:
            self._has_room.clear()
        key = item.key if self.handler.ordered else None
        chain = self._chains.get(key) if key is not None else None
        if chain is None:
            chain = _KeyChain(self, key)
            self._new.append(chain)
            if key is not None:
                self._chains[key] = chain
        chain.items.append(item)

    def begin(self) -> None:
        """Set what has been put going."""
        new, self._new = self._new, []
        self._crew.add(new)

    async def room(self) -> None:
        """Return when there is room for more, or when nothing more is begun."""
        await self._has_room.wait()

    async def rest(self) -> None:
        """Return when every event has been dealt with."""
        await self._crew.rest()

    def stop_starting(self) -> None:
        """Call the handler for no further event; those that it was called for go on."""
        self._closed = True
        self._has_room.set()
        self._crew.stop_starting()

    async def end(self) -> None:
        """Give up what still runs."""
        self._crew.interrupt()
        await self._crew.rest()
        if self._dropped:
            report.dropped(self.handler.id, self._dropped)

    def settled(self, run: Run, outcome: Outcome) -> None:
        """Take note of what became of a call: of success, nothing."""
        self._done_with(run.item)
        if outcome.kind == "done":
            return
        if outcome.kind == "discarded":
            report.discarded(run, outcome)
        else:
            self._failed()
            report.failed(run, outcome)

    def drop(self, chain: _KeyChain) -> None:
        """The process stops: what has not begun does not."""
        self._dropped += len(chain.items)
        self._done_with(*chain.items)
        chain.items.clear()
        self.forget(chain)

    def forget(self, chain: _KeyChain) -> None:
        """A chain is at its end."""
        if chain.key is not None:
            self._chains.pop(chain.key, None)

    def _done_with(self, *items: Item) -> None:
        for item in items:
            self._waiting.pop(item, None)
        if len(self._waiting) < ROOM and not self._has_room.is_set():
            self._has_room.set()

    def _new_crew(self) -> Crew:
        crew = Crew(self._runs, self._limit, None)
        crew.on_broken = self._lose
        if self._closed:
            crew.stop_starting()
        return crew

    def _lose(self, error: BaseException) -> None:
        """After a defect nobody works on the chains any more, and a key that waited for one would wait for ever."""
        lost = list(self._waiting)
        for _ in lost:
            self._failed()
        report.broken(self.handler.id, [item.id for item in lost], error)
        self._chains.clear()
        self._new.clear()
        self._crew = self._new_crew()
        self._done_with(*lost)


class _KeyChain:
    """The events of one key that wait for the handler; it grows while it is worked through."""

    __slots__ = ("_feed", "items", "key")

    def __init__(self, feed: Feed, key: str | None) -> None:
        self._feed, self.key = feed, key
        self.items: deque[Item] = deque()

    def next(self) -> Run | None:
        if not self.items:
            self._feed.forget(self)
            return None
        return Run(self._feed.handler, self.items.popleft())

    def settle(self, run: Run, outcome: Outcome) -> None:
        self._feed.settled(run, outcome)

    def detach(self, away: Away) -> None:
        away.give_up()  # never called: there is no lane here to be held up

    def release(self) -> None:
        self._feed.drop(self)
