"""The queue of runs: claiming, settling, renewing, and what is made ready when its time has come."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from fastapi_events.model.run_start import Sealed
from fastapi_events.store.canceled_runs import CanceledRuns, EndedCanceled
from fastapi_events.store.database import Database
from fastapi_events.store.log import EventLog
from fastapi_events.store.statements import Statements

ANY_CRASHES = 2**31 - 1
PROMOTED_AT_ONCE = 1000
"""Runs that are made ready by one statement, at most."""
WAITING_AT_ONCE = 100
"""Runs that one statement lets wait, each by values of its own: it compares each with each."""
BRIEFLY, LESS_BRIEFLY = "50", "250"
"""Milliseconds for which what is recorded alone waits for others, before it is put off."""
OFTEN = 6
"""Times that it is put off before it waits less briefly: where many come and go nobody gets through by short tries."""


class RunClaim(NamedTuple):
    """This worker's right to one run; ``token`` is the fence."""

    run_id: UUID
    token: int


class DueNext(NamedTuple):
    """What is due next. Seconds are those until a moment, None if nothing waits for one."""

    late: bool
    """Whether a run was due already, and somebody has its row locked."""
    seconds: float | None
    """Until the next run is due, or a lease is over."""
    tick: float | None
    """Until the next tick of the schedules."""


@dataclass(slots=True)
class RunResult:
    """What became of an attempt at a run: how it ended, or (state None) when it is tried again."""

    claim: RunClaim
    job: int
    """The number of its job."""
    redrives: int
    state: str | None
    attempts: int
    result: str | None = None
    keep: float = 0.0
    duration: float = 0.0
    delay: float = 0.0
    unspent: bool = False
    reason: str | None = None
    note: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    fingerprint: str | None = None
    holds: bool = False
    """Whether it keeps its place among those at work: it is suspended, its attempt is not over."""
    limited: bool = False
    """Whether others may have waited for it."""
    in_doubt: bool = False
    """Whether nobody knows what was done in an attempt that spent nothing."""
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The attempts to be recorded."""
    seen: int | None = None
    """The news that a run has seen which goes to wait for its children."""
    wakes: bool = False
    """Whether it looks at the end of each."""
    awaits: bool = False
    """Whether it goes to wait for an event."""
    family: bool = False
    """Whether it has spawned others: what ends it also closes them, and no statement may change a row twice."""
    relatives: bool = False
    """Whether its end is news to a run that spawned it, or to some that it has spawned."""
    parent: UUID | None = None
    """The run that spawned it."""
    put_off: int = 0
    """How many times it could not be recorded, because somebody else had locked what is to be changed."""
    announced: bool = False
    """Whether its end is an audit event."""
    children: Sequence[Sealed] = ()
    """Events and runs that come true with it."""

    @property
    def simple(self) -> bool:
        """Whether there is nothing to say but the result."""
        return self.state == "completed" and self.attempts == 1 and not self.alone

    @property
    def alone(self) -> bool:
        """Whether it is recorded in a transaction of its own."""
        return bool(self.children) or self.family


class Settled(NamedTuple):
    """What was recorded. Whoever is neither recorded nor put off was this worker's no more, and has changed nothing."""

    recorded: set[RunClaim]
    put_off: set[RunClaim]
    """What is held up by somebody, and still this worker's."""
    canceled: bool = False
    """Whether any that was put down is to be cancelled: nobody runs it now."""


class Renewed(NamedTuple):
    """What is this worker's still, each with the reason for which it is to be cancelled, if it is."""

    kept: dict[RunClaim, str | None]
    locked: set[RunClaim]
    """Of these the leases could not be extended: somebody has locked them, so that nobody else can take them."""


def parts(results: Sequence[RunResult]) -> Iterator[Sequence[RunResult]]:
    """What is recorded by one statement each, one after the other: last what is alone, least often put off first."""
    ordered = sorted(results, key=lambda result: result.claim)
    yield [result for result in ordered if result.simple]
    others = [result for result in ordered if not result.simple and not result.alone]
    yield [result for result in others if result.state is not None]
    waiting = [result for result in others if result.state is None]  # one that ended may be the child of one of them
    yield from (waiting[first : first + WAITING_AT_ONCE] for first in range(0, len(waiting), WAITING_AT_ONCE))
    alone = [result for result in ordered if result.alone]
    yield from ([result] for result in sorted(alone, key=lambda result: result.put_off))


class RunQueue:
    """One worker's view of the queue. Every write is fenced by the claim's token."""

    def __init__(
        self, database: Database, statements: Statements, log: EventLog, *, worker: UUID, lease: float
    ) -> None:
        self._database, self._log, self._worker, self._lease = database, log, worker, lease
        self._statements = {name: statements[f"jobs/{name}"] for name in _NAMES}
        self._canceled = CanceledRuns(database, statements)

    async def claim(self, rooms: Mapping[int, int], limit: int, crashes: int = ANY_CRASHES) -> list[Any]:
        """Take up to ``limit`` ready runs, of each job no more than it has room for; in the order to run them.

        Those with which as many processes as ``crashes`` have vanished are left to others.
        """
        rows = await self._database.fetch(
            self._statements["claim_runs"], list(rooms), list(rooms.values()), limit, self._lease, self._worker, crashes
        )
        return sorted(rows, key=lambda row: (-row["priority"], row["number"]))

    async def begin_alone(self, claim: RunClaim) -> bool:
        """Say that a run in doubt begins now, and no other such in this process; False if it is not this worker's."""
        return bool(await self._database.fetch(self._statements["begin_run_alone"], *claim, self._worker))

    async def settle(self, results: Sequence[RunResult]) -> Settled:
        """Record what became of runs, which are one of the ``parts``.

        Runs with relatives, and those that were put off, wait for nobody; what is recorded alone waits briefly. That,
        and others, may raise ``LockNotAvailableError``.
        """
        if results[0].alone:
            rows = await self._settle_with(results[0])
        elif results[0].simple:
            rows = await self._database.fetch(
                self._statements["complete_runs"], self._worker, *_simple_columns(results), _to_lock(results)
            )
        else:
            rows = await self._database.fetch(
                self._statements["settle_runs"], self._worker, *_columns(results), _to_lock(results), _in_doubt(results)
            )
        return Settled(
            {_claim_of(row) for row in rows if not row["put_off"]}, {_claim_of(row) for row in rows if row["put_off"]},
            any(row["canceled"] for row in rows),
        )  # fmt: skip

    async def _settle_with(self, result: RunResult) -> list[Any]:
        """Record one result, and what comes true with it, in one transaction, which waits for others only briefly."""
        run_id = result.claim.run_id
        async with self._database.acquire() as connection, self._database.steered(connection):
            await connection.execute(
                self._statements["wait_briefly"], LESS_BRIEFLY if result.put_off >= OFTEN else BRIEFLY
            )
            if result.state is not None and (result.family or result.parent is not None):
                await connection.fetch(self._statements["lock_families"], id_array([run_id]))
            rows = await connection.fetch(
                self._statements["settle_runs"], self._worker, *_columns([result]), [run_id], _in_doubt([result])
            )
            if result.children and any(not row["put_off"] for row in rows):
                await self._log.append(connection, result.children)
        return rows

    async def renew(self, claims: Sequence[RunClaim]) -> Renewed:
        """Extend the leases of what is in hand."""
        rows = await self._database.fetch(
            self._statements["renew_runs"], self._worker, self._lease, *_ids_and_tokens(claims)
        )
        return Renewed(
            {_claim_of(row): row["cancel_reason"] for row in rows},
            {_claim_of(row) for row in rows if not row["renewed"]},
        )  # fmt: skip

    async def find_canceled(self, claims: Collection[RunClaim]) -> dict[RunClaim, str]:
        """Which of what is in hand is to be cancelled, and why."""
        ids = [claim.run_id for claim in claims]
        rows = await self._database.fetch(self._statements["find_canceled_runs"], self._worker, ids)
        return {claim: row["reason"] for row in rows if (claim := _claim_of(row)) in claims}

    async def release(self, claims: Sequence[RunClaim]) -> None:
        """Give runs back that have not begun."""
        await self._database.fetch(self._statements["release_runs"], self._worker, *_ids_and_tokens(claims))

    async def promote(self, look_back: float | None) -> int:
        """Make ready whose time has come; returns how many. ``look_back`` seconds limit the search."""
        rows = await self._database.fetch(self._statements["promote_runs"], PROMOTED_AT_ONCE, look_back, self._lease)
        return len(rows)

    async def end_canceled(self) -> EndedCanceled:
        """End what is to be cancelled and what nobody runs, with all below it, as far as nobody has it locked."""
        return await self._canceled.end()

    async def next_due(self, look_back: float | None, schedules: Sequence[int]) -> DueNext:
        """When there is something to do again."""
        [row] = await self._database.fetch(self._statements["next_due_run"], look_back, schedules)
        return DueNext(row["late"], row["seconds"], row["tick_seconds"])


_NAMES = (
    "claim_runs", "settle_runs", "complete_runs", "renew_runs", "release_runs", "promote_runs",
    "next_due_run", "begin_run_alone", "find_canceled_runs", "lock_families", "wait_briefly",
)  # fmt: skip


def id_array(ids: Collection[UUID]) -> str:
    """Ids as the text of an array."""
    return f"{{{','.join(map(str, ids))}}}"


def _to_lock(results: Sequence[RunResult]) -> list[UUID]:
    """What is locked before anything is changed, in one order; nothing where each run is by itself."""
    parents = {result.parent for result in results if result.parent is not None and result.state is not None}
    if not parents and not any(result.put_off for result in results):
        return []
    return sorted(parents.union(result.claim.run_id for result in results))


def _in_doubt(results: Sequence[RunResult]) -> list[bool]:
    return [result.in_doubt for result in results]


def _claim_of(row: Any) -> RunClaim:
    return RunClaim(row["run_id"], row["token"])


def _ids_and_tokens(claims: Sequence[RunClaim]) -> tuple[list[UUID], list[int]]:
    ordered = sorted(claims)
    return [claim.run_id for claim in ordered], [claim.token for claim in ordered]


def _simple_columns(results: Sequence[RunResult]) -> tuple[list[Any], ...]:
    return (
        [result.claim.run_id for result in results],
        [result.claim.token for result in results],
        [result.result for result in results],
        [result.duration for result in results],
        [result.keep for result in results],
        [result.job for result in results],
        [result.redrives for result in results],
    )


def _columns(results: Sequence[RunResult]) -> tuple[Any, ...]:
    names = (
        "state", "reason", "note", "result", "error_type", "error_message", "fingerprint", "attempts", "delay",
        "unspent", "duration", "keep",
    )  # fmt: skip
    columns = [[getattr(result, name) for result in results] for name in names]
    records = [record for result in results for record in result.records]
    return (
        [result.claim.run_id for result in results],
        [result.claim.token for result in results],
        *columns,
        json.dumps(records, default=str),
        [result.seen for result in results],
        [result.wakes for result in results],
        [result.holds for result in results],
        [result.job for result in results],
        [result.redrives for result in results],
    )
