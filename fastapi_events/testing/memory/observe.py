"""The readings of events on memory: history, deliveries, dead letters and the schedule; the fleet's are refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from copy import copy
from datetime import datetime
from fnmatch import fnmatchcase
from uuid import UUID

from fastapi_events.api.observe import COUNT_LIMIT, Observe
from fastapi_events.api.observe.filters import (
    DeadLetterFilter,
    EventFilter,
    checked_id,
    parse_dead_letter_filter,
    parse_event_filter,
)
from fastapi_events.api.observe.given import aware, position, tenants_within, whole
from fastapi_events.api.observe.job_views import JobSigns
from fastapi_events.api.observe.schedule import ScheduledEvent, SchedulePage
from fastapi_events.api.observe.shaping import lane_name, status_of, view_of
from fastapi_events.api.observe.views import (
    Attempt,
    DeadLetter,
    DeadLetterPage,
    DeliveryDetail,
    EventDetail,
    EventPage,
    EventSummary,
    HandlerDelivery,
    HandlerState,
)
from fastapi_events.engine.handlers import HandlerPlan
from fastapi_events.errors import InvalidFilter
from fastapi_events.model.lane import AUDIT
from fastapi_events.store.readings import Reader
from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.deliveries import Deliveries, KeptDelivery
from fastapi_events.testing.memory.held_back import settle
from fastapi_events.testing.memory.log import MemoryLog, Row, row_of
from fastapi_events.testing.memory.refusing import HOW, refuse

_NOBODY = UUID(int=0)
_UNDERSTOOD = {"name", "id", "aggregate", "tenant", "correlation", "causation", "key", "status", "handler"}
_FIELDS = {"tenant": "tenant_id", "correlation": "correlation_id", "causation": "causation_id"}


class MemoryObserve(Observe):
    """``events.observe`` on memory.

    It has ``events``, ``event``, ``delivery``, ``dead_letters``, ``dead_letter_count`` and ``scheduled``, each as one
    page, ``oldest_pending_age``, and ``job_signs``, which are of none; the rest is about processes and tables, and is
    refused with ``NotOnMemory``.
    """

    def __init__(self, log: MemoryLog, deliveries: Deliveries, plan: HandlerPlan, clock: Clock, group: str) -> None:
        self._log, self._deliveries, self._plan, self._clock = log, deliveries, plan, clock
        self.group = group
        self._tenants: tuple[str, ...] | None = None

    def within(self, *tenants: str) -> Observe:
        narrowed = copy(self)
        narrowed._tenants = tenants_within(tenants, self._tenants, kind=InvalidFilter)
        return narrowed

    async def close(self) -> None:
        return

    async def events(
        self, where: str | EventFilter = "", *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> EventPage:
        wanted = parse_event_filter(where) if isinstance(where, str) else where
        before, after = position("before", before), position("after", after)
        rows = [row for row in reversed(self._rows()) if self._passes(row, wanted)]
        rows = [
            r for r in rows if (before is None or r["position"] < before) and (after is None or r["position"] > after)
        ]
        page = rows[: _page(limit)]
        older = page[-1]["position"] if len(rows) > len(page) else None
        return EventPage(events=tuple(self._summary(row) for row in page), older=older, newer=None)

    async def event(self, event_id: UUID | str) -> EventDetail | None:
        wanted = checked_id(event_id, "event_id")
        row = next((row for row in self._rows() if row["id"] == wanted), None)
        if row is None:
            return None
        talk = tuple(self._summary(one) for one in self._rows() if one["correlation_id"] == row["correlation_id"])
        handlers = self._standings(row)
        return view_of(
            EventDetail, row, lane=lane_name(row["lane"]), status=status_of(row, handlers), handlers=handlers,
            deliveries=handlers, conversation=talk,
        )  # fmt: skip

    async def scheduled(self, *, cursor: str | None = None, limit: int = 50) -> SchedulePage:
        if cursor is not None:
            raise InvalidFilter("cursor: on memory the schedule is one page. Leave the cursor out.")
        settle()
        now = self._clock.now()
        found: list[ScheduledEvent] = []
        for one in self._log.waiting.values():
            row: Row = row_of(one.envelope, 0, now) | {"due_at": one.due_at, "scheduled_at": one.at}
            if self._sees(row["tenant_id"]):
                found.append(view_of(ScheduledEvent, row, lane=lane_name(row["lane"])))
        found.sort(key=lambda event: event.due_at)
        overdue = sum(event.due_at <= now for event in found)
        return SchedulePage(
            events=tuple(found[: _page(limit)]), later=None, scheduled=len(found), capped=False, overdue=overdue
        )

    async def dead_letters(
        self, where: str | DeadLetterFilter = "", *, cursor: str | None = None, limit: int = 50
    ) -> DeadLetterPage:
        if cursor is not None:
            raise InvalidFilter("cursor: on memory dead letters are one page. Leave the cursor out.")
        found = self._dead(where, None)
        return DeadLetterPage(
            dead_letters=tuple(self._dead_letter(one) for one in found[: _page(limit)]), older=None,
            matching=min(len(found), COUNT_LIMIT), capped=len(found) > COUNT_LIMIT, cut_off=self._clock.now(),
        )  # fmt: skip

    async def dead_letter_count(self, where: str | DeadLetterFilter = "", *, cut_off: datetime | None = None) -> int:
        if cut_off is not None:
            aware("cut_off", cut_off, kind=InvalidFilter)
        return len(self._dead(where, cut_off))

    async def job_signs(self) -> JobSigns:
        return JobSigns(jobs=0, dead=0)

    async def delivery(self, delivery_id: UUID | str) -> DeliveryDetail | None:
        one = self._deliveries.by_id(checked_id(delivery_id, "delivery_id"))
        if one is None or not self._sees(one.event["tenant_id"]):
            return None
        state = one.facts["state"]
        return view_of(
            DeliveryDetail, one.event | one.facts, id=one.id, handler=one.handler.id, group=self.group,
            event_name=one.event["name"], in_log=True, state=state, redrives=one.redrives, crashes=0,
            behind=self._deliveries.behind(one), due_at=self._due(one), created_at=one.created_at,
            changed_at=one.changed_at, published_at=one.event["published_at"], history=_history(one),
        )  # fmt: skip

    async def oldest_pending_age(self) -> float | None:
        now = self._clock.now()
        pending = [row["published_at"] for row in self._rows() if self._summary(row).status in ("pending", "waiting")]
        return (now - min(pending)).total_seconds() if pending else None

    def _rows(self) -> list[Row]:
        settle()
        return [row for row in self._log.events if self._sees(row["tenant_id"])]

    def _sees(self, tenant: str | None) -> bool:
        return self._tenants is None or tenant in self._tenants

    def _standings(self, row: Row) -> tuple[HandlerDelivery, ...]:
        takers = () if row["lane"] == AUDIT else self._plan.takers_of(row["name"]).all
        handlers = [taker.handler for taker in takers if taker.handler is not None]
        return tuple(self._standing(row, handler.id, handler.number) for handler in handlers)

    def _standing(self, row: Row, handler: str, number: int) -> HandlerDelivery:
        place = (number, row["position"])
        one = self._deliveries.kept.get(place)
        if one is None:
            state: HandlerState = "done" if place in self._deliveries.done else "pending"
            return HandlerDelivery(handler=handler, group=self.group, state=state)
        facts = one.facts
        return HandlerDelivery(
            handler=handler, group=self.group, state=facts["state"], delivery_id=one.id, note=facts["note"],
            reason=facts["reason"] if facts["state"] in ("waiting", "dead") else None, attempts=facts["attempts"],
            redrives=one.redrives, crashes=0, error_type=facts["error_type"], error_message=facts["error_message"],
            fingerprint=facts["fingerprint"], due_at=self._due(one),
            done_at=one.changed_at if facts["state"] == "done" else None, history=_history(one),
        )  # fmt: skip

    def _summary(self, row: Row) -> EventSummary:
        handlers = self._standings(row)
        return view_of(
            EventSummary, row, lane=lane_name(row["lane"]), status=status_of(row, handlers), handlers=handlers
        )

    def _due(self, one: KeptDelivery) -> datetime | None:
        return self._deliveries.parked.get((one.handler.number, one.slot)) if one.state == "waiting" else None

    def _dead(self, where: str | DeadLetterFilter, cut_off: datetime | None) -> list[KeptDelivery]:
        wanted = parse_dead_letter_filter(where) if isinstance(where, str) else where
        found = [one for one in self._deliveries.kept.values() if one.state == "dead" and _matches(one, wanted)]
        found = [one for one in found if self._sees(one.event["tenant_id"])]
        found = [one for one in found if cut_off is None or one.changed_at < cut_off]
        return sorted(found, key=lambda one: (one.changed_at, one.id), reverse=True)

    def _dead_letter(self, one: KeptDelivery) -> DeadLetter:
        return view_of(
            DeadLetter, one.event | one.facts, id=one.id, handler=one.handler.id, group=self.group,
            event_name=one.event["name"], redrives=one.redrives, behind=self._deliveries.behind(one),
            published_at=one.event["published_at"], died_at=one.changed_at,
        )  # fmt: skip

    def _passes(self, row: Row, wanted: EventFilter) -> bool:
        for term in wanted.terms:
            if term.key not in _UNDERSTOOD:
                refuse(f"the filter {term.text!r}", "it is PostgreSQL that searches by it")
        handlers = self._standings(row)
        checks: dict[str, Callable[[str], bool]] = {
            "name": lambda value: fnmatchcase(row["name"], value.replace(":", ".", 1)),
            "aggregate": lambda value: value in (row["aggregate"], f"{row['aggregate']}/{row['aggregate_id']}"),
            "handler": lambda value: any(one.handler == value for one in handlers),
            "status": lambda value: any(one.state == value for one in handlers),
        }
        return all(
            checks[term.key](term.value)
            if term.key in checks
            else str(row[_FIELDS.get(term.key, term.key)]) == term.value
            for term in wanted.terms
        )

    def _reading(self) -> AbstractAsyncContextManager[Reader]:
        frame = inspect.currentframe()
        what = frame.f_back.f_code.co_name if frame is not None and frame.f_back is not None else "…"
        why = "it reads what PostgreSQL keeps of processes and of its tables"
        mend = f"Read by {_INSTEAD[what]}. {HOW}" if what in _INSTEAD else HOW
        refuse(f"events.observe.{what}()", why, mend)


_INSTEAD = {"run": "events.jobs.get(run)", "runs": "events.jobs.list(job)"}
"""What reads the same on memory."""


def _page(limit: int) -> int:
    if not 1 <= whole("limit", limit, kind=InvalidFilter) <= 100:
        raise InvalidFilter(f"limit={limit} is not from 1 to 100.")
    return limit


def _matches(one: KeptDelivery, wanted: DeadLetterFilter) -> bool:
    found = (one.handler.id, one.event["name"], one.facts["fingerprint"])
    asked = (wanted.handler, wanted.event_name, wanted.fingerprint)
    return all(want is None or want == have for want, have in zip(asked, found, strict=True))


def _history(one: KeptDelivery) -> tuple[Attempt, ...]:
    return tuple(view_of(Attempt, attempt, worker_id=_NOBODY) for attempt in one.history)
