"""What operators do, on memory: the actions are the library's own, over what memory keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fastapi_events.api.operations import Operations
from fastapi_events.api.replays import ReplayOperations
from fastapi_events.api.run_operations import Jobs
from fastapi_events.errors import NotFound
from fastapi_events.model.identity import new_id
from fastapi_events.store.dead_letters import DeadLetterStore, Tenants
from fastapi_events.store.run_actions import RunActionStore
from fastapi_events.store.schedule import ScheduleStore
from fastapi_events.store.statements import Statements
from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.deliveries import Deliveries
from fastapi_events.testing.memory.jobs.actions import MemoryRunActions
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.schedules import MemorySchedules
from fastapi_events.testing.memory.log import MemoryLog
from fastapi_events.testing.memory.pools import MemoryPools
from fastapi_events.testing.memory.refusing import Refusing


class Record:
    """Who did what."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.actions: list[dict[str, Any]] = []

    def add(self, action: str, actor: str, target: str, details: Mapping[str, Any], tenants: Sequence[str]) -> None:
        """Note an action; ``tenants``: whom it concerned."""
        entry = {"id": new_id(), "action": action, "actor": actor, "target": target, "acted_at": self._clock.now()}
        self.actions.append(entry | {"details": json.dumps(details, default=str), "tenants": set(tenants)})


class MemoryDeadLetters(DeadLetterStore):
    """Redrives and discards dead deliveries in memory."""

    def __init__(self, deliveries: Deliveries, record: Record, names: Collection[str]) -> None:
        self.database = cast("Any", Refusing("events.operations.erase()"))
        self.statements = Statements("memory")
        self._deliveries, self._record, self._names = deliveries, record, names

    async def handler_names(self, group_id: int) -> list[str]:  # noqa: ARG002 - there is one
        return list(self._names)

    async def redrive(
        self, ids: Sequence[UUID], *, actor: str, details: Mapping[str, Any], tenants: Tenants = None
    ) -> list[UUID]:
        self._check_tenants(ids, tenants)
        return self._noted("redrive", ids, self._deliveries.redrive(ids), actor, details)

    async def discard(
        self, ids: Sequence[UUID], *, reason: str, actor: str, details: Mapping[str, Any], tenants: Tenants = None
    ) -> list[UUID]:
        self._check_tenants(ids, tenants)
        return self._noted("discard", ids, self._deliveries.discard(ids, reason), actor, details)

    async def matching(
        self, group_id: int, *,  # noqa: ARG002 - there is one
        handler: str | None, event_name: str | None, fingerprint: str | None,
        changed_before: datetime, limit: int, tenants: Tenants = None,
    ) -> list[UUID]:  # fmt: skip
        found = [
            one
            for one in self._deliveries.kept.values()
            if one.state == "dead"
            and handler in (None, one.handler.id)
            and event_name in (None, one.event["name"])
            and fingerprint in (None, one.facts["fingerprint"])
            and one.changed_at < changed_before
            and (tenants is None or one.event["tenant_id"] in tenants)
        ]
        return [one.id for one in sorted(found, key=lambda one: one.changed_at)[:limit]]

    async def actions(self, limit: int, tenants: Tenants = None) -> list[Any]:
        entries = reversed(self._record.actions)
        return [one for one in entries if tenants is None or one["tenants"] & set(tenants)][:limit]

    def _check_tenants(self, ids: Sequence[UUID], tenants: Tenants) -> None:
        for one in ids if tenants is not None else ():
            delivery = self._deliveries.by_id(one)
            if delivery is None or delivery.event["tenant_id"] not in (tenants or ()):
                raise NotFound(f"There is no delivery {one}. Nothing was changed.")

    def _noted(
        self, action: str, ids: Sequence[UUID], changed: list[UUID], actor: str, details: Mapping[str, Any]
    ) -> list[UUID]:
        target = str(ids[0]) if len(ids) == 1 else f"{len(ids)} deliveries"
        found = [self._deliveries.by_id(one) for one in ids]
        tenants = [one.event["tenant_id"] or "" for one in found if one is not None]
        self._record.add(action, actor, target, {**details, "asked": len(ids), "changed": changed}, tenants)
        return changed


class MemorySchedule(ScheduleStore):
    """Cancels scheduled events in memory."""

    def __init__(self, log: MemoryLog, record: Record) -> None:
        self._log, self._record = log, record

    async def cancel(self, event_id: UUID, *, actor: str, reason: str, tenants: Sequence[str] | None = None) -> bool:
        written = self._log.waiting.get(event_id)
        if tenants is not None and (written is None or written.envelope.tenant_id not in tenants):
            raise NotFound(f"No event {event_id} is scheduled (any more). Nothing was changed.")
        row = self._log.cancel_now(event_id)
        facts = {"reason": reason, "cancelled": row is not None, "event": row["name"] if row else None}
        self._record.add("cancel_scheduled", actor, str(event_id), facts, [row["tenant_id"] or ""] if row else [])
        return row is not None


class MemoryOperations(Operations):
    """The library's own, but for what memory does not do."""

    @property
    def replays(self) -> ReplayOperations:
        refused: Any = Refusing("events.operations.replays")
        return cast("ReplayOperations", refused)

    def runs_kept_in(self, store: RunActionStore) -> None:
        """Where runs and jobs are. Of pools nothing can be said."""
        self._run_actions, self._pools = store, MemoryPools()


def make_operations(
    log: MemoryLog, deliveries: Deliveries, runs: KeptRuns, schedules: MemorySchedules, record: Record,
    names: Collection[str], *, jobs: Jobs, changed: Callable[[], None], jobs_changed: Callable[[], None],
) -> Operations:  # fmt: skip
    """``events.operations`` on memory: dead letters, scheduled events, runs, jobs, schedules and the record of actions;
    the rest is refused."""
    gates, removal = (
        Refusing("events.operations.pause(), resume(), reset_breaker(), set_pool() and reset_pool()"),
        Refusing("events.operations.remove_group()"),
    )
    operations = MemoryOperations(
        MemoryDeadLetters(deliveries, record, names), cast("Any", gates), cast("Any", gates),
        MemorySchedule(log, record), cast("Any", removal), lambda: 1, keys_due=changed, handlers_changed=jobs_changed,
        jobs=jobs, runs_told=lambda _: changed(), announce=lambda _: changed(),
    )  # fmt: skip
    operations.schedules_kept_in(schedules)
    operations.runs_kept_in(MemoryRunActions(runs, record.add))
    return operations
