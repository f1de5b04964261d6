"""What operators do: the same calls behind the dashboard, the JSON API and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi_events.api.erasure import Erased, Erasure
from fastapi_events.api.handler_kinds import Kinds
from fastapi_events.api.job_operations import JobOperations
from fastapi_events.api.observe.filters import as_uuid
from fastapi_events.api.observe.given import aware, tenants_within, whole
from fastapi_events.api.pool_operations import PoolOperations
from fastapi_events.api.replays import ReplayOperations
from fastapi_events.api.run_operations import Jobs
from fastapi_events.api.schedule_operations import ScheduleOperations
from fastapi_events.api.unknown_handler import unknown_handler
from fastapi_events.errors import OperationRefused
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.tenancy import UNSAID, Unsaid
from fastapi_events.store.dead_letters import DeadLetterStore
from fastapi_events.store.erasure import ErasureStore
from fastapi_events.store.gates import GateStore
from fastapi_events.store.group import GroupStore
from fastapi_events.store.groups import GroupRemoval
from fastapi_events.store.job_schedules import JobScheduleStore
from fastapi_events.store.pools import PoolStore
from fastapi_events.store.replays import ReplayStore
from fastapi_events.store.run_actions import RunActionStore
from fastapi_events.store.schedule import ScheduleStore

MOST_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Changed:
    """What an action did: of ``asked`` deliveries, ``changed`` were in a state that allowed it."""

    asked: int
    changed: int


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """One entry of the record of operators' actions."""

    id: UUID
    action: str
    actor: str
    target: str
    details: Mapping[str, Any]
    acted_at: datetime


class Operations(ScheduleOperations, PoolOperations, JobOperations):
    """Redrive and discard dead deliveries of this group, replay, pause, cancel scheduled events, erase, remove groups.

    Jobs are paused, ``runs`` cancels, retries, replays and edits their runs, and pools are resized. Every call is
    recorded with its actor.

    A redriven delivery keeps its place in its key's order and gets a fresh budget of attempts; a discarded one is
    given up for good, and what waits behind it goes on.
    """

    def __init__(
        self, store: DeadLetterStore, gates: GateStore, groups: GroupStore, schedule: ScheduleStore,
        removal: GroupRemoval, group_id: Callable[[], int], *, keys_due: Callable[[], None],
        handlers_changed: Callable[[], None], handler_kinds: Kinds = dict, jobs: Jobs = dict,
        runs_told: Callable[[Collection[LogPlace]], None] = lambda _: None,
        announce: Callable[[Collection[LogPlace]], None] = lambda _: None,
    ) -> None:  # fmt: skip
        super().__init__(gates, groups, group_id, handlers_changed, handler_kinds)
        runs = RunActionStore(store.database, store.statements)
        JobOperations.__init__(self, runs, group_id, jobs, changed=handlers_changed, told=runs_told)
        self._dead_letters, self._schedule, self._removal, self._keys_due = store, schedule, removal, keys_due
        self._schedules, self._announce = JobScheduleStore(store.database, store.statements), announce
        self._pools = PoolStore(store.database, store.statements)
        self._erasures = ErasureStore(store.database, store.statements)
        self._replays = ReplayStore(store.database, store.statements)

    def within(self, *tenants: str) -> Operations:
        """The same for people of these tenants: what is not theirs is not there, and they see their actions alone.

        Each id is checked: with one that is not theirs, nothing is changed and ``NotFound`` is raised. Pauses and
        breakers hold for everybody's events: they raise ``OperationRefused``. None named is nobody. Called on the
        result, it never widens what that may do.
        """
        narrowed = copy(self)
        narrowed._tenants = tenants_within(tenants, self._tenants)
        return narrowed

    @property
    def replays(self) -> ReplayOperations:
        """Deliver history again: ``replays.preview(...)``, then ``replays.start(...)``."""
        return ReplayOperations(
            self._replays, self._group_id, self._kinds, self._changed, self._tenants, self._handler_names
        )

    async def redrive(self, delivery_ids: Sequence[UUID | str], *, actor: str, reason: str = "") -> Changed:
        """Run dead deliveries again, each by the handler that failed and no other.

        Ids (UUIDs, or their text) that are not dead any more are left alone and counted as not changed. Raises
        ``OperationRefused`` for more than 10,000 ids, and for what is no id.
        """
        ids = _checked(delivery_ids, actor)
        done = await self._dead_letters.redrive(ids, actor=actor, details={"reason": reason}, tenants=self._tenants)
        return self._after(ids, done)

    async def discard(self, delivery_ids: Sequence[UUID | str], *, actor: str, reason: str) -> Changed:
        """Give dead deliveries up for good; ``reason`` is kept with each.

        Raises ``OperationRefused`` without one, and as ``redrive`` does.
        """
        ids = _checked(delivery_ids, actor)
        if not reason.strip():
            raise OperationRefused("A discard needs a reason: it is kept with the delivery for whoever asks later.")
        done = await self._dead_letters.discard(
            ids, reason=reason, actor=actor, details={"reason": reason}, tenants=self._tenants
        )
        return self._after(ids, done)

    async def redrive_matching(
        self, *, handler: str | None = None, event_name: str | None = None, fingerprint: str | None = None,
        changed_before: datetime, limit: int = 1000, actor: str, reason: str = "",
    ) -> Changed:  # fmt: skip
        """Redrive up to ``limit`` dead deliveries that match and were dead before ``changed_before``, oldest first.

        ``changed_before`` needs a time zone. Raises ``OperationRefused``, also if nothing matches a handler that the
        group does not have.
        """
        ids = await self._matching(handler, event_name, fingerprint, changed_before, limit)
        return await self.redrive(ids, actor=actor, reason=reason) if ids else Changed(0, 0)

    async def discard_matching(
        self, *, handler: str | None = None, event_name: str | None = None, fingerprint: str | None = None,
        changed_before: datetime, limit: int = 1000, actor: str, reason: str,
    ) -> Changed:  # fmt: skip
        """Discard up to ``limit`` dead deliveries that match and were dead before ``changed_before``, oldest first.

        Raises as ``redrive_matching`` does, and without a reason.
        """
        ids = await self._matching(handler, event_name, fingerprint, changed_before, limit)
        return await self.discard(ids, actor=actor, reason=reason) if ids else Changed(0, 0)

    async def cancel_scheduled(self, event_id: UUID | str, *, actor: str, reason: str = "") -> bool:
        """Take an event that was published with ``delay`` or ``at`` from the schedule, for every group.

        False if it is not there: it has been appended to the log, was cancelled before, or never was. Its id stays
        taken. Raises ``OperationRefused`` for what is no id, ``NotFound`` within tenants for what is not there or not
        theirs, and ``OperationUnavailable`` while it is being appended or another transaction cancels it.
        """
        _check_actor(actor)
        found = _checked_id(event_id, "event id", "the id that publish() answered")
        return await self._schedule.cancel(found, actor=actor, reason=reason, tenants=self._tenants)

    async def preview_erase(
        self, aggregate: str, aggregate_id: str | UUID | int, *, tenant_id: str | Unsaid | None = UNSAID
    ) -> Erased:
        """What ``erase`` would find and change; changes nothing, and raises as that does."""
        return await Erasure(self._erasures, self._tenants).survey(aggregate, aggregate_id, tenant_id)

    async def erase(
        self, aggregate: str, aggregate_id: str | UUID | int, *, tenant_id: str | Unsaid | None = UNSAID, actor: str,
        reason: str,
    ) -> Erased:  # fmt: skip
        """Take the content of an aggregate's events away for good: payloads, headers, copies, and what errors quote.

        The envelope stays, ids included. Handlers are never given an erased event: its deliveries that still wait, or
        are redriven, are discarded with the reason ``erased``. In transactions of 500 events, each with its entry in
        the record of actions, where the aggregate's id is a fingerprint; after a failure call it again. An attempt
        that had the content before may record an error after: call it again once ``handler_timeout`` is over.

        Without ``tenant_id`` it is refused (``OperationRefused``) if several tenants have such an aggregate; None is
        the one of no tenant. Raises ``OperationRefused`` without a reason, and ``OperationUnavailable``.
        """
        erasure = Erasure(self._erasures, self._tenants)
        return await erasure.erase(aggregate, aggregate_id, tenant_id, actor=actor, reason=reason)

    async def remove_group(self, name: str, *, actor: str, reason: str) -> None:
        """End a consumer group for good: nothing is kept for it any more, and what waits for its handlers is given up.

        Its replays are cancelled. Its dead letters that park a key and its waiting deliveries become discarded, a part
        in each round of retention. Processes that start under the name later begin a new group, with what is published
        from then on. Raises ``OperationRefused`` for an unknown group, for one that has a live process, and without
        actor or reason.
        """
        self._check_whole("remove_group")
        _check_actor(actor)
        if not reason.strip():
            raise OperationRefused("Removing a group needs a reason: it is kept in the record of actions.")
        await self._removal.remove(name, actor=actor, reason=reason)

    async def actions(self, *, limit: int = 100) -> list[OperatorAction]:
        """The newest ``limit`` actions."""
        rows = await self._dead_letters.actions(limit, self._tenants)
        return [
            OperatorAction(
                row["id"], row["action"], row["actor"], row["target"], json.loads(row["details"]), row["acted_at"]
            )
            for row in rows
        ]

    async def _matching(
        self, handler: str | None, event_name: str | None, fingerprint: str | None, changed_before: datetime, limit: int
    ) -> list[UUID]:
        if not 1 <= whole("limit", limit) <= MOST_AT_ONCE:
            raise OperationRefused(
                f"limit={limit}: one action changes 1 to {MOST_AT_ONCE:,} deliveries. Do it in parts."
            )
        found = await self._dead_letters.matching(
            self._group_id(), handler=handler, event_name=event_name, fingerprint=fingerprint,
            changed_before=aware("changed_before", changed_before), limit=limit, tenants=self._tenants,
        )  # fmt: skip
        if handler is not None and not found and handler not in (known := await self._handler_names()):
            raise unknown_handler(handler, known)
        return found

    async def _handler_names(self) -> list[str]:
        """Those that the group has, and those of this code, which nobody may have registered yet."""
        return [*await self._dead_letters.handler_names(self._group_id()), *self._kinds()]

    def _after(self, asked: Sequence[UUID], done: Sequence[UUID]) -> Changed:
        if done:
            self._keys_due()
        return Changed(len(asked), len(done))


def _checked(ids: Sequence[UUID | str], actor: str) -> list[UUID]:
    _check_actor(actor)
    if isinstance(ids, (str, UUID)):
        raise OperationRefused(f"{str(ids)[:60]!r} is not a list of delivery ids. Put it in brackets: [delivery_id].")
    if len(ids) > MOST_AT_ONCE:
        raise OperationRefused(f"{len(ids):,} deliveries at once; one action changes {MOST_AT_ONCE:,} at most.")
    return [_checked_id(one, "delivery id", "the id that observe.dead_letters() shows") for one in ids]


def _check_actor(actor: str) -> None:
    if not actor.strip():
        raise OperationRefused("actor is empty: every action is recorded with who did it. Pass actor='…'.")


def _checked_id(given: UUID | str, what: str, source: str) -> UUID:
    found = as_uuid(given)
    if found is None:
        raise OperationRefused(
            f"{str(given)[:60]!r} is no {what}, which is a UUID such as 0197c0de-0000-7000-8000-000000000000: {source}."
        )
    return found
