"""Keeping what runs say: in one statement for all of a process, twice a second, and before a run is settled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

from fastapi_events.engine.failure import safe_text
from fastapi_events.engine.infrastructure import describe, is_refusal
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.job_secrecy import secrets_of
from fastapi_events.engine.jobs.run_log import MAX_FIELD, MAX_MESSAGE, MAX_TRACEBACK, Line, RunLines, RunLogger
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.secrecy import WITHHELD
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import running_loop, wait_for_flag
from fastapi_events.model.context import current_listener, set_listener
from fastapi_events.model.secrets import without_values
from fastapi_events.store.run_log import RunLogStore, Said

INTERVAL = 0.5
"""Seconds for which lines gather while a run goes on."""
MANY = 200
"""Lines that are not waited with."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
logger = logging.getLogger("fastapi_events")
_OWN = "fastapi_events"
_LOGGER = logging.getLogger("fastapi_events.jobs")


class LogKeeping(Loop):
    """Keeps lines of runs from ``level`` on (a name of ``LEVELS``, or "off"), ``most`` of each run.

    ``captures``: also what is logged by any other logger while a job runs.
    """

    name = "logs of runs"

    def __init__(self, store: RunLogStore, *, level: str, most: int, captures: bool) -> None:
        super().__init__()
        self._store, self._most = store, most
        self.level = LEVELS.get(level)
        """None: nothing is kept."""
        self.captures = captures and self.level is not None
        self._open: dict[RunLines, JobRun] = {}
        self._told: set[RunLines] = set()
        """Those that have said something since they were looked at."""
        self._flag, self._urgent = asyncio.Event(), asyncio.Event()
        self._keeping = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: _Capture | None = None

    @property
    def waiting(self) -> bool:
        """Whether anything has been said that is not kept yet."""
        return bool(self._told)

    def logger_of(self, run: JobRun, about: dict[str, object]) -> RunLogger:
        """What an attempt logs by."""
        return RunLogger(_LOGGER, about, self.lines_of(run), self.level or 0)

    def begin(self, run: JobRun) -> None:
        """An attempt is about to call the job: what other loggers say in this context is the run's."""
        if self.captures:
            set_listener(self.lines_of(run))

    def lines_of(self, run: JobRun) -> RunLines | None:
        """Where the lines of an attempt gather; None if none are kept."""
        if self.level is None:
            return None
        if run.lines is None:
            row = run.item.row
            is_new = not (row["attempts"] or row["redrives"] or row["lapsed"] or row["resumed"])
            run.lines = RunLines(self._most, 0 if is_new else None, self, self._wanted)
            self._open[run.lines] = run
            self._loop = asyncio.get_running_loop()
        return run.lines

    async def start(self) -> None:
        """Begin, and hear what other loggers say if that is wanted."""
        if self.captures and self._handler is None:
            self._handler = _Capture(self, self.level or 0)
            logging.getLogger().addHandler(self._handler)
        await super().start()

    async def stop(self, grace: float = 5.0) -> None:
        """End, and let logging be as it was."""
        handler, self._handler = self._handler, None
        if handler is not None:
            logging.getLogger().removeHandler(handler)
        await super().stop(grace)

    def interrupt(self) -> None:
        self._flag.set()
        self._urgent.set()

    async def turn(self) -> None:
        await self._flag.wait()
        await wait_for_flag(self._urgent, INTERVAL)
        self._flag.clear()
        self._urgent.clear()
        await self.keep(list(self._told))

    async def recover(self) -> None:
        """Try again what could not be kept."""
        if self._told:
            self._flag.set()

    async def settle(self, those: Collection[RunLines]) -> None:
        """Keep what these attempts have said, which are over: nothing that they say from now on counts.

        Never raises: no run waits for its log. What could not be kept is tried again until it is forgotten.
        """
        for lines in those:
            lines.close()
        try:
            await patiently(lambda: self.keep(those))
        except Exception as error:  # noqa: BLE001 - a defect here is no reason not to record what became of runs
            logger.warning("what %d runs have said cannot be kept now (%s)", len(those), describe(error))

    def forget(self, lines: RunLines) -> None:
        """Nothing of an attempt counts any more."""
        lines.close()
        self._open.pop(lines, None)
        self._told.discard(lines)

    async def keep(self, those: Collection[RunLines]) -> None:
        """Keep what they have said, in one statement. One after the other, so that lines come in their order."""
        async with self._keeping:
            self._told.difference_update(those)
            those = [lines for lines in those if lines.has_news and lines in self._open]
            taken: dict[RunLines, tuple[list[Line], int]] = {}
            try:
                await self._count([lines for lines in those if lines.known is None])
                taken.update((lines, lines.take()) for lines in those if lines in self._open)
                kept = await self._store_all([self._said(lines, *what) for lines, what in taken.items()])
            except BaseException:
                for lines, what in taken.items():
                    lines.put_back(*what)
                self._told.update(those)
                raise
            for lines, (said, _) in taken.items():
                run = self._open.get(lines)
                if run is not None and run.claim.run_id in kept:
                    lines.known = (lines.known or 0) + len(said)
                else:
                    lines.close()  # somebody else has the run

    async def _store_all(self, said: list[Said]) -> set[UUID]:
        try:
            return await self._store.keep(said) if said else set()
        except Exception as error:
            if not is_refusal(error):
                raise
            if len(said) > 1:  # one of them is refused, for ever
                return {run_id for one in said for run_id in await self._store_all([one])}
            logger.exception("run %s: what it has said is refused by the database, and lost", said[0].claim.run_id)
            return {said[0].claim.run_id}

    async def _count(self, unknown: list[RunLines]) -> None:
        ids = [self._open[lines].claim.run_id for lines in unknown if lines in self._open]
        if ids:
            counted = await self._store.count(ids, self._most)
            for lines in unknown:
                if lines in self._open:
                    lines.known = counted[self._open[lines].claim.run_id]

    def _said(self, lines: RunLines, said: list[Line], left_out: int) -> Said:
        run = self._open[lines]
        secrets, now = secrets_of(run), time.monotonic()
        return Said(run.claim, [_stored(run, line, secrets, now) for line in said], left_out)

    def _wanted(self, lines: RunLines) -> None:
        """Called by whichever thread has said something."""
        if lines in self._told and lines.waits != MANY:
            return
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        if running_loop() is loop:
            self._note(lines)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._note, lines)

    def _note(self, lines: RunLines) -> None:
        if lines in self._open:
            self._told.add(lines)
            self._flag.set()
            if lines.waits >= MANY:
                self._urgent.set()


def _stored(run: JobRun, line: Line, secrets: list[str] | None, now: float) -> dict[str, Any]:
    """A line as it is stored, without what is secret in the run's input; where that cannot be told, without words."""

    def shown(text: str, most: int) -> str:
        return WITHHELD if secrets is None else safe_text(without_values(text, secrets), most)

    fields = {name: shown(value, MAX_FIELD) if isinstance(value, str) else value for name, value in line.fields.items()}
    return {
        "run_id": str(run.claim.run_id), "attempt": run.attempts, "age": now - line.said, "level": line.level,
        "step": line.step, "logger": line.logger, "message": shown(line.message, MAX_MESSAGE),
        "fields": fields if fields and secrets is not None else None,
        "traceback": None if line.traceback is None else shown(line.traceback, MAX_TRACEBACK),
    }  # fmt: skip


class _Capture(logging.Handler):
    """Gives what other loggers say to the run in whose context they do."""

    def __init__(self, keeper: LogKeeping, level: int) -> None:
        super().__init__(level)
        self._keeper = keeper

    def emit(self, record: logging.LogRecord) -> None:
        lines = current_listener()
        if isinstance(lines, RunLines) and lines.keeper is self._keeper and record.name.partition(".")[0] != _OWN:
            lines.say(record, record.name)
