"""Deliveries that may end their process: each is run alone, so that the culprit shows itself and nobody else is blamed.

A process says in its own row which one it begins. Whoever falls silent before it is settled has vanished over it, and
whoever comes back has not. See ``docs/architecture.md`` for why nothing is added up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi_events.engine.failure import failure
from fastapi_events.engine.handlers import HandlerPlan
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.run import Run
from fastapi_events.engine.suspicion import tell_of_suspects
from fastapi_events.model.outcome import Outcome
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.parked import KeyClaim, KeyQueue, KeyResult
from fastapi_events.store.statements import Statements
from fastapi_events.store.suspects import CrashRecord, SuspectStore

IN_HAND = 10
"""Keys that are claimed together, to be run one after the other."""
LONGEST_HAND = 1.0
"""Seconds after which what has not begun is given back."""
NOT_ENTERED = 1.0
"""Seconds to wait for this process's own row: without it nobody would know over what it vanished."""
_NAMED = 10


class Suspects:
    """What one process runs alone: one delivery at a time."""

    def __init__(self, store: SuspectStore, plan: HandlerPlan, max_crashes: int) -> None:
        self._store, self._plan, self._max_crashes = store, plan, max_crashes
        self.claims: list[KeyClaim] = []
        """What is in hand: it is run one by one."""
        self.expected = True
        """Whether it is worth asking for one: as long as nobody has said so, no statement is spent."""

    async def separate(self, claims: Sequence[KeyClaim], depth: int) -> list[KeyClaim]:
        """Of these claims, those to go on with; those that processes have vanished over are run alone from now on."""
        threshold = await self._store.threshold(claims)
        doubtful = [claim for claim in claims if claim.crashes >= threshold]
        if doubtful:
            rows = await self._store.doubt(doubtful, depth)
            tell_of_suspects([(row["handler_id"], row["event_name"], row["event_id"]) for row in rows], self._plan)
            self.expected = True
        return [claim for claim in claims if claim.crashes < threshold]

    async def claim(
        self, rooms: Collection[int], reads: Mapping[int, int], *, probes: Collection[int], taken: Sequence[KeyClaim],
        paused_lanes: Collection[int], histories: Mapping[int, UUID],
    ) -> list[KeyClaim]:  # fmt: skip
        """A few keys to run alone, or none; not of a handler whose probe has been taken already.

        ``histories`` has the handlers of which only keys of that replay are to be taken.
        """
        spent = {claim.handler_id for claim in taken if claim.probe}
        handlers = [number for number in rooms if number not in spent]
        claims: list[KeyClaim] = []
        if handlers:
            claims = await self._store.claim(
                handlers, reads, IN_HAND, probes=probes, paused_lanes=paused_lanes, histories=histories
            )
        self.expected = bool(claims)
        return claims

    async def run(self, queues: Sequence[KeyQueue], drain: Callable[[KeyQueue], Awaitable[None]]) -> None:
        """Run the heads of these keys one after the other; what is not begun soon is left to other processes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_HAND
        self.claims = [queue.claim for queue in queues]
        try:
            for queue in queues:
                if loop.time() > until:
                    break
                await drain(queue)
                self.claims.remove(queue.claim)
            left, self.claims = self.claims, []
            if left:
                await self._store.release(left)
        finally:
            self.claims = []
            await patiently(self._store.end)

    async def attempt(self, run: Run, row: Any, attempt: Callable[[Run], Awaitable[Outcome]]) -> Outcome:
        """Make the attempt, unless too many processes have vanished over it: then it is dead."""
        record = await self._store.begin(row["delivery_id"], 2 * self._max_crashes)
        if record is None:
            return Outcome(
                "interrupted", delay=NOT_ENTERED, failure=failure("Interrupted", "the process is not entered")
            )
        return self._dead(record) if self._is_guilty(record) else await attempt(run)

    def _is_guilty(self, record: CrashRecord) -> bool:
        """Where processes vanish anyway, one that ran it proves less: each of those asks for one more, to threefold."""
        return record.crashes >= self._max_crashes + min(record.accidents, 2 * self._max_crashes)

    def _dead(self, record: CrashRecord) -> Outcome:
        more = f" and {record.crashes - _NAMED} more" if record.crashes > _NAMED else ""
        text = (
            f"processes that have vanished while they ran it alone: {record.crashes}, which were "
            f"{', '.join(record.processes[:_NAMED])}{more}. Nothing in Python is known to have failed: look into their "
            "logs and their platform's events (killed for their memory? a crash in a C library?)."
        )
        return Outcome("dead", reason="crashed_worker", failure=failure("WorkerCrashed", text))


def stops_at(row: Any, claim: KeyClaim, last: Run | None, result: KeyResult) -> bool:
    """Whether a claimed key is given back before this delivery: it is to be run alone, or what was has been."""
    suspect = row["reason"] == "crash_suspect"
    if not suspect and not claim.alone:
        return False
    if claim.alone and last is None:
        return False
    result.drained, result.suspect = False, suspect
    return True


def note_alone(result: KeyResult, outcome: Outcome) -> None:
    """Whatever has become of it, it is not in doubt any more; but an attempt that was cut short says nothing."""
    result.suspect = outcome.kind == "interrupted"
    if result.suspect:
        result.results[-1]["reason"] = "crash_suspect"


def make_suspects(
    database: Database, statements: Statements, settings: EventsSettings, plan: HandlerPlan, worker: UUID
) -> Suspects:
    """Those of one process."""
    store = SuspectStore(database, statements, worker=worker, lease=settings.lease)
    return Suspects(store, plan, settings.max_crashes)
