"""What keeps this process from calling handlers: breakers that are open, handlers and lanes that are paused.

The database has the state; what is here is a copy, renewed with the plan of handlers whenever their revision changes.
A failure is noted at once in memory, and by a task of its own in the database: the handlers' results don't wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.infrastructure import describe
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.run import Run
from fastapi_events.model.delivery import WaitReason
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.replay import LIVE
from fastapi_events.store.gates import GateStore
from fastapi_events.store.group import KnownHandler

logger = logging.getLogger("fastapi_events")

LONGEST_OUTAGE = 86_400.0
"""Seconds since its publishing for which an event outlives its attempts as a probe."""

_OF_THE_HANDLER = ("max_attempts", "timed_out")
_OF_THE_EVENT = ("gave_up", "rejected_by_handler")


class Gates:
    """``closed`` has the handlers that are not to be called live, by number, each with the reason why its events wait.

    ``stopped`` are those among them that are not to be called at all. The others are ``catching_up`` with the history
    that they begin with, by the replay of that id: what is live waits for its end.
    """

    def __init__(self, store: GateStore, *, changed: Callable[[], None], keys_due: Callable[[], None]) -> None:
        self._store, self._changed, self._keys_due = store, changed, keys_due
        self.closed: dict[int, WaitReason] = {}
        self.stopped: dict[int, WaitReason] = {}
        self.catching_up: dict[int, UUID] = {}
        self.paused_lanes: frozenset[int] = frozenset()
        self._probe_at: dict[int, float] = {}
        self._failures: dict[Handler, int] = {}
        self._recovered: dict[Handler, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def learn(self, known: Iterable[KnownHandler], paused_lanes: frozenset[int], own: Mapping[int, Handler]) -> None:
        """Take over what the database says of the handlers that this process has."""
        now = asyncio.get_running_loop().time()
        self.paused_lanes, self.closed, self.stopped, self._probe_at = paused_lanes, {}, {}, {}
        self.catching_up = {}
        for handler in known:
            mine = own.get(handler.id)
            if mine is None:
                continue
            if handler.catching_up is not None:
                self.catching_up[handler.id], self.closed[handler.id] = handler.catching_up, "catching_up"
            if handler.paused:
                self.closed[handler.id] = self.stopped[handler.id] = "paused"
            elif handler.probe_in is not None and mine.breaker is not None:
                self._open(handler.id, now + handler.probe_in)
            elif handler.probe_in is not None:
                self._recovered[mine] = None  # it has no breaker any more: who could close it again?
                self._write()

    def keep(self, number: int, replay: UUID) -> bool:
        """Whether a waiting delivery of the handler is not to be attempted now; ``replay`` is whose it is."""
        return number in (self.closed if replay == LIVE else self.stopped)

    @property
    def next_probe(self) -> float | None:
        """Seconds until the next breaker may be tried; None if none is open."""
        if not self._probe_at:
            return None
        return max(min(self._probe_at.values()) - asyncio.get_running_loop().time(), 0.0)

    async def probes(self, handlers: Iterable[Handler], *, all_due: bool) -> frozenset[int]:
        """Of these handlers, those that may be tried once now although their breakers are open."""
        now = asyncio.get_running_loop().time()
        handlers = list(handlers)
        wanted = {
            handler.number: max(handler.breaker.recovery, handler.timeout)
            for handler in handlers
            if handler.breaker is not None
            and (at := self._probe_at.get(handler.number)) is not None
            and (all_due or at <= now)
        }
        if not wanted:
            return frozenset()
        reads = {handler.number: handler.reads for handler in handlers}
        taken, closed = await self._store.take_probes(wanted, reads, self.paused_lanes)
        for number, pause in wanted.items():
            if self.stopped.get(number) != "breaker_open":
                continue  # somebody has paused or closed it meanwhile
            if number in closed:
                self._reopen(number)
            else:
                self._probe_at[number] = now + (pause if number in taken else min(pause, 1.0))
        return frozenset(number for number in taken if self.stopped.get(number) != "paused")

    def note(self, handler: Handler, outcome: Outcome, *, probe: bool = False) -> None:
        """Take note of what became of an attempt of a handler that has a breaker."""
        if handler.breaker is None:
            return
        kind, reason = outcome.kind, outcome.reason
        if kind == "retry" or (kind == "dead" and reason in _OF_THE_HANDLER):
            self._failed(handler)
        elif kind in ("done", "discarded") or (kind == "dead" and reason in _OF_THE_EVENT):
            if probe:
                self._recovered[handler] = None
                self._failures.pop(handler, None)
                self._write()
            if handler.failed_at:
                handler.failed_at, handler.had_success = [], True

    async def written(self) -> None:
        """Wait until the database has everything that was noted."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def end(self) -> None:
        """Wait until what was noted is written, and write no more: what was given up may fail long after."""
        await self.written()
        self._ended = True

    def _open(self, number: int, probe_at: float) -> None:
        if number in self.catching_up:
            return  # what is live waits anyway, a probe would overtake the history, and that has a brake of its own
        self.closed[number] = self.stopped[number] = "breaker_open"
        self._probe_at[number] = probe_at

    def _failed(self, handler: Handler) -> None:
        policy = handler.breaker
        if policy is None:
            return
        now = asyncio.get_running_loop().time()
        recent = [at for at in handler.failed_at if at > now - policy.window]
        handler.failed_at = [*recent, now][-policy.threshold :]
        self._failures[handler] = self._failures.get(handler, 0) + 1
        if len(handler.failed_at) >= policy.threshold and handler.number not in self.stopped:
            # Nobody waits for the database to say so; if it knows better, the gate opens again a moment later.
            self._open(handler.number, now + policy.recovery)
        self._write()

    def _write(self) -> None:
        if not self._ended and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._failures or self._recovered:
            handler = self._recovered.popitem()[0] if self._recovered else None
            try:
                if handler is not None:
                    await self._close(handler)
                else:
                    handler, count = self._failures.popitem()
                    await self._record(handler, count)
            except Exception as error:  # noqa: BLE001 - the breaker is an aid: attempts are recorded without it
                logger.warning("circuit breakers: could not be written (%s)", describe(error))
                if handler is not None and self.stopped.get(handler.number) == "breaker_open":
                    self._reopen(handler.number)  # if the database knows better, it will say so
                    self._keys_due()

    async def _record(self, handler: Handler, count: int) -> None:
        policy = handler.breaker
        if policy is None:
            return
        after_success, handler.had_success = handler.had_success, False
        state = await patiently(lambda: self._store.failed(handler.number, count, policy, after_success=after_success))
        if state.is_open:
            if self.stopped.get(handler.number) != "paused":
                self._open(handler.number, asyncio.get_running_loop().time() + state.probe_in)
        elif self.stopped.get(handler.number) == "breaker_open":
            self._reopen(handler.number)
            self._keys_due()
        if state.opened:
            logger.warning(
                "handler %s: %d failures in a row within %g s: its circuit breaker is open; events wait, and one is "
                "tried every %g s", handler.id, policy.threshold, policy.window, policy.recovery,
            )  # fmt: skip
            self._changed()

    async def _close(self, handler: Handler) -> None:
        if await patiently(lambda: self._store.close(handler.number)):
            logger.info("handler %s: works again; its circuit breaker is closed", handler.id)
        handler.failed_at, handler.had_success = [], True
        if self.stopped.get(handler.number) == "breaker_open":
            self._reopen(handler.number)
        self._changed()

    def _reopen(self, number: int) -> None:
        self.closed.pop(number, None)
        self.stopped.pop(number, None)
        self._probe_at.pop(number, None)


def spared(run: Run, outcome: Outcome) -> Outcome:
    """The outcome of a probe that failed: it is no delivery's last attempt, so that an outage kills nothing.

    But for what is older than a day, or it would be tried for ever. Its key is due at once, behind the others, of which
    one is the next probe.
    """
    if outcome.kind == "retry":
        return replace(outcome, delay=0.0)
    if outcome.kind == "dead" and outcome.reason in _OF_THE_HANDLER and run.age < LONGEST_OUTAGE:
        return replace(outcome, kind="postponed", reason=None, delay=0.0)
    return outcome
