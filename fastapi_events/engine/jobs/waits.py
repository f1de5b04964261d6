"""What a job waits for in the middle of an attempt: a signal, or an event."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from fastapi_events.engine.item import decode
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.stored_versions import StoredVersions, Unreadable
from fastapi_events.errors import InvalidJob, InvalidPayload, InvalidResult, WaitTimeout
from fastapi_events.model.broadcast import NEVER_HEARD, check_trigger
from fastapi_events.model.event import Event, EventOptions, options_of
from fastapi_events.model.lane import lane_of, partition_of, place_of
from fastapi_events.model.registry import Registry
from fastapi_events.model.values import decode_value
from fastapi_events.store.waits import Awaited, WaitStore

Found = tuple[Any, int] | None
"""A step that waits, or has what it waited for, and the run's news; None for a run that was lost."""


class Waits:
    """Asks for signals and events, and reads what came."""

    def __init__(self, store: WaitStore, registry: Registry, *, partitions: int) -> None:
        self._store, self._registry, self._partitions = store, registry, partitions

    async def signal(self, run: JobRun, step: str, number: int, name: str, timeout: float | None) -> Found:
        """Take a signal, or wait for one."""
        return await self._store.take_signal(run.claim, step, number, name, timeout)

    def awaited(self, run: JobRun, event: type[Event], key: str | None) -> Awaited:
        """What is waited for, and where it would be stored."""
        options = checked_event(event, key, f"job {run.job.id!r}: wait_for()")
        if key is None:
            places = [place_of(lane_of(options), one) for one in range(self._partitions)]
            return Awaited(options.name, None, places, options.name)
        whole = f"{run.item.row['tenant_id'] or ''}/{options.aggregate or ''}/{key}"
        place = place_of(lane_of(options), partition_of(whole, self._partitions))
        return Awaited(options.name, whole, [place], f"{options.name} of {key}")

    async def event(self, run: JobRun, step: str, number: int, awaited: Awaited, timeout: float | None) -> Found:
        """Wait for an event."""
        return await self._store.await_event(run.claim, step, number, awaited, timeout)

    def read_signal(self, text: str, kind: Any, *, owner: str) -> Any:
        """What was sent, as its type."""
        try:
            return decode_value(text, TypeAdapter(kind), kind, what="signal", owner=owner)
        except InvalidPayload as error:
            raise InvalidResult(str(error), path=error.path) from error.__cause__

    def read_event(self, text: str, event: type[Event]) -> Any:
        """The event that came, as its class; raises ``InvalidResult`` for one that cannot be read."""
        found, options = json.loads(text), event.__event_options__
        if options is None:
            raise InvalidResult(f"{event.__qualname__} is abstract.")
        others = found["other_versions"]
        stored = StoredVersions(
            options.name, found["version"], json.dumps(found["payload"]), json.dumps(others) if others else None
        )
        read = decode(event, stored, self._registry)
        if isinstance(read, Unreadable):
            raise InvalidResult(f"the event {found['id']} cannot be read: {read.failure.message}")
        return read


def checked_event(event: Any, key: Any, owner: str) -> EventOptions:
    """What the class that is waited for declares; raises ``InvalidJob`` or ``AuditEventTriggerError`` for a wait that
    would never be over."""
    shown = ascii(event)[:80]
    if not (isinstance(event, type) and issubclass(event, Event)):
        raise InvalidJob(f"{owner} takes an Event class, not {shown}. Write job.wait_for(OrderPaid, ...).")
    options = options_of(event)
    if options is None:
        raise InvalidJob(
            f"{owner}: {event.__qualname__} is abstract, so none is ever published. Give the class a name=."
        )
    check_trigger(event, owner=owner, mend=NEVER_HEARD)
    if key is not None and options.key is None and options.aggregate_id is None:
        raise InvalidJob(
            f"{owner}: key={ascii(key)[:80]}, but {event.__qualname__} has neither key= nor aggregate_id=, so that its "
            "events have no key. Declare which field it is, class "
            f"{event.__qualname__}(Event, ..., key='order_id'), or leave key= out."
        )
    return options


def timed_out(owner: str) -> WaitTimeout:
    """What is raised when the time to wait is over."""
    return WaitTimeout(f"{owner}: it did not come in time.")
