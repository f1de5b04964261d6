"""What users call to publish: on an event loop, or by plain calls in ``def`` endpoints and scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, Unpack
from uuid import UUID

from fastapi_events.api.publishing.and_start import AndStartKeywords, seal_start, to_start
from fastapi_events.api.publishing.caller import caller
from fastapi_events.api.publishing.cancel import checked_event_id
from fastapi_events.api.publishing.options import SharedKeywords, SingleKeywords, TypedKeywords, refuse_also
from fastapi_events.api.publishing.outlets import Outlet, SyncOutlet
from fastapi_events.api.publishing.port import Published, PublishingPort
from fastapi_events.api.publishing.sealing import About, Sealing, several
from fastapi_events.api.publishing.through_middleware import Seal, sealed_through, sealed_through_now
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.event import Direction, Event, RawEvent
from fastapi_events.model.job import Job
from fastapi_events.model.job_context import Started
from fastapi_events.model.onion import PublishOnion
from fastapi_events.model.trigger import Trigger

__all__ = ["EventPublisher", "Published", "SyncEventPublisher"]

In = TypeVar("In")
Out = TypeVar("Out")


class EventPublisher(Sealing):
    """Publishes events in the transaction of the session that it is bound to.

    Call it: ``await publish(OrderPlaced(...))``. The event is validated and serialised at once and becomes true with
    the session's commit, together with the rows of the session, or not at all; several events have the order in which
    they were published. Options: ``event_id`` (a UUID that makes a second publish of the same id a no-op that says
    so), ``occurred_at`` (an aware datetime), ``key`` (the ordering key, instead of the class's), ``tenant_id``,
    ``correlation_id``, ``causation_id``, ``headers``; and, for an event that is to wait, ``delay`` (seconds or a
    ``timedelta``, by the database's clock from the moment the row is written) or ``at`` (an aware datetime; one that is
    over means at once). Until it is due nobody handles it, and ``cancel`` takes it back. ``also`` is the same event in
    another version, or several of them, for handlers that take those; it stays one event with one delivery per handler.

    With ``event_id``, and for classes with ``serialize=True``, the row is inserted at once, because the answer or the
    lock is needed now; all others go together, right before the commit.

    Raises ``UnknownEvent``, ``UnknownOption``, ``InvalidPayload``, ``PayloadTooLarge`` and ``MissingTenantIdError``
    before any SQL, ``NotInTransaction``, ``SessionClosed``, and ``WrongDatabase`` (at the latest from ``commit()``).
    """

    def __init__(
        self,
        port: PublishingPort,
        outlet: Outlet,
        *,
        derive_id: Callable[[], UUID] | None = None,
        endpoint: Any = None,
        middleware: PublishOnion | None = None,
    ) -> None:
        super().__init__(port, derive_id=derive_id, endpoint=endpoint, middleware=middleware)
        self._outlet = outlet

    async def __call__(self, event: Event, **options: Unpack[TypedKeywords]) -> Published:
        """Publish one event."""
        if self._middleware is None:
            envelope = self._seal(event, options)
        else:
            envelope = await sealed_through(self._middleware, event, options, self._seal)
        [duplicate] = await self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    async def many(self, events: Iterable[Event], **options: Unpack[SharedKeywords]) -> list[Published]:
        """Publish several events with the same options, or none of them if one is refused."""
        refuse_also(options, "publish.many()")
        if self._middleware is None:
            envelopes = [self._seal(event, options) for event in several(events)]
        else:
            onion = self._middleware
            envelopes = [await sealed_through(onion, event, options, self._seal) for event in several(events)]
        return _answers(envelopes, await self._outlet.put(envelopes, caller(self._endpoint)))

    async def raw(
        self,
        name: str,
        payload: Any,
        *,
        version: int = 1,
        direction: Direction = "change",
        aggregate: str | None = None,
        aggregate_id: str | None = None,
        **options: Unpack[SingleKeywords],
    ) -> Published:
        """Publish an event that has no class here, for forwarders: ``payload`` is any JSON value, unvalidated.

        ``version`` (1), ``direction`` (``change``), ``aggregate`` (the middle part of a three-part name) and
        ``aggregate_id`` (the ordering key, unless ``key`` is given) are what a class would say.
        """
        about = About(direction, aggregate, aggregate_id)
        event = RawEvent(name, version, payload)
        if self._middleware is None:
            envelope = self._seal_raw(about, event, options)
        else:
            envelope = await sealed_through(self._middleware, event, options, partial(self._seal_raw, about))
        [duplicate] = await self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    async def and_start(
        self,
        event: Event,
        job: Job[In, Out],
        input: In,  # noqa: A002 - as in jobs.start
        *,
        trigger: str | Trigger[Any, Any] | None = None,
        **options: Unpack[AndStartKeywords],
    ) -> tuple[Published, Started[Out]]:
        """Publish an event and start a run of a job with it: both are there with the commit, or neither.

        The run is the one that the job's trigger on this event starts: the trigger will find it, and start no second
        one. Which trigger that is, ``trigger`` (it, or its id) says where there are several; without one it is simply
        both. Beside the options of ``publish`` (but for ``delay`` and ``at``) it takes ``priority``, ``tags`` and
        ``scope`` for the run, which inherits tenant, correlation and actor from the event.

        With an ``event_id`` that was there already the answers say of each whether it was: nothing is done twice.
        Raises what publishing and ``jobs.start`` raise, and ``ContradictoryOptions``.
        """
        start, of_event = to_start(job, input, trigger, options)
        if self._middleware is None:
            envelope = self._seal(event, of_event)
        else:
            envelope = await sealed_through(self._middleware, event, of_event, self._seal)
        run = seal_start(envelope, start, self._port)
        duplicate, existing = await self._outlet.put([envelope, run], caller(self._endpoint))
        return Published(envelope.id, duplicate), Started(run.standing, existing)

    async def cancel(self, event_id: UUID) -> bool:
        """Take an event that was published with ``delay`` or ``at`` back, in the transaction of this publisher.

        True if it was waiting: nobody will handle it once the transaction is committed. False if it has been appended
        to the log, was cancelled before, or never was: nothing is changed then. While it is being appended, or while
        another transaction cancels it, this waits for the outcome. The id stays taken. Raises ``NotInTransaction`` in a
        handler without a session.
        """
        return await self._outlet.cancel(checked_event_id(event_id))


class SyncEventPublisher(Sealing):
    """``EventPublisher`` behind plain calls, for ``def`` endpoints and scripts: ``publish(OrderPlaced(...))``."""

    _dependency = ("SyncPublisher", "sync_publisher_on")

    def __init__(
        self,
        port: PublishingPort,
        outlet: SyncOutlet,
        *,
        derive_id: Callable[[], UUID] | None = None,
        endpoint: Any = None,
        middleware: PublishOnion | None = None,
    ) -> None:
        super().__init__(port, derive_id=derive_id, endpoint=endpoint, middleware=middleware)
        self._outlet = outlet

    def __call__(self, event: Event, **options: Unpack[TypedKeywords]) -> Published:
        """Publish one event."""
        envelope = self._sealed(event, options, self._seal)
        [duplicate] = self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    def many(self, events: Iterable[Event], **options: Unpack[SharedKeywords]) -> list[Published]:
        """Publish several events with the same options, or none of them if one is refused."""
        refuse_also(options, "publish.many()")
        envelopes = [self._sealed(event, options, self._seal) for event in several(events)]
        return _answers(envelopes, self._outlet.put(envelopes, caller(self._endpoint)))

    def raw(
        self,
        name: str,
        payload: Any,
        *,
        version: int = 1,
        direction: Direction = "change",
        aggregate: str | None = None,
        aggregate_id: str | None = None,
        **options: Unpack[SingleKeywords],
    ) -> Published:
        """Publish an event that has no class here; see ``EventPublisher.raw``."""
        about = About(direction, aggregate, aggregate_id)
        envelope = self._sealed(RawEvent(name, version, payload), options, partial(self._seal_raw, about))
        [duplicate] = self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    def and_start(
        self,
        event: Event,
        job: Job[In, Out],
        input: In,  # noqa: A002 - as in jobs.start
        *,
        trigger: str | Trigger[Any, Any] | None = None,
        **options: Unpack[AndStartKeywords],
    ) -> tuple[Published, Started[Out]]:
        """Publish an event and start a run of a job with it; see ``EventPublisher.and_start``."""
        start, of_event = to_start(job, input, trigger, options)
        envelope = self._sealed(event, of_event, self._seal)
        run = seal_start(envelope, start, self._port)
        duplicate, existing = self._outlet.put([envelope, run], caller(self._endpoint))
        return Published(envelope.id, duplicate), Started(run.standing, existing)

    def cancel(self, event_id: UUID) -> bool:
        """Take a scheduled event back; see ``EventPublisher.cancel``."""
        return self._outlet.cancel(checked_event_id(event_id))

    def _sealed(self, event: object, options: Mapping[str, Any], seal: Seal) -> Envelope:
        onion = self._middleware
        return seal(event, options) if onion is None else sealed_through_now(onion, event, options, seal)


def _answers(envelopes: Sequence[Envelope], duplicates: Sequence[bool]) -> list[Published]:
    return [
        Published(envelope.id, duplicate, envelope.due is not None and not duplicate)
        for envelope, duplicate in zip(envelopes, duplicates, strict=True)
    ]
