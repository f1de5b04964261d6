"""What publishers need of an instance: rules, the log, and whom to tell of a commit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID

from fastapi_events.api.jobs import JobClient
from fastapi_events.api.publisher import EventPublisher, Published, SyncEventPublisher
from fastapi_events.api.publishing import immediate_commits
from fastapi_events.api.publishing.caller import Site
from fastapi_events.api.publishing.options import check_options
from fastapi_events.api.publishing.outlets import Outlet
from fastapi_events.api.publishing.sealing import Sealer
from fastapi_events.api.session_binding import (
    OwnTransactions,
    bind_async,
    bind_jobs,
    bind_sync,
    check_detached,
    outlet_on,
    publish_detached,
)
from fastapi_events.engine.handlers import HandlerPlan
from fastapi_events.engine.immediate import Immediate
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.side import JobSide
from fastapi_events.engine.run import Run
from fastapi_events.errors import NotStarted
from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.event import Event
from fastapi_events.model.identity import child_event_id
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.onion import publish_onion
from fastapi_events.model.registry import Registry
from fastapi_events.model.run_start import RunStart, Sealed
from fastapi_events.plugin.collecting import Collected, CollectedSync, OfJob
from fastapi_events.settings import EventsSettings
from fastapi_events.store.log import DatabaseIdentity, EventLog
from fastapi_events.store.run_readings import RunReadings

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events

PUBLISHERS: frozenset[type[Any]] = frozenset({EventPublisher, SyncEventPublisher, JobClient})


class Serving(Protocol):
    """What runs for a started instance, as publishing sees it."""

    @property
    def settings(self) -> EventsSettings: ...

    @property
    def log(self) -> EventLog: ...

    @property
    def partitions(self) -> int: ...

    @property
    def channel(self) -> str: ...

    @property
    def jobs(self) -> JobSide | None: ...

    @property
    def plan(self) -> HandlerPlan: ...

    def committed(self, places: Collection[LogPlace], /) -> None: ...


class Publishing:
    """The publishing side of an ``Events`` instance; it can publish as long as the instance is started."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._log: EventLog | None = None
        self._rules = PublishRules()
        self._database: DatabaseIdentity | None = None
        self._runtime: Serving | None = None
        self._alone: Outlet | None = None
        self._immediate: Immediate | None = None
        self.middleware = publish_onion(events.middleware)
        self.counts: dict[str, int] = {}

    def connect(self, runtime: Serving, identity: DatabaseIdentity | None, alone: Outlet | None = None) -> None:
        """Take over what a started instance knows; ``alone`` takes what is published without a session, if not one of
        the instance's own sessions does."""
        settings, self._alone = runtime.settings, alone
        self._runtime, self._log, self._database = runtime, runtime.log, identity
        self._rules = PublishRules(
            partitions=runtime.partitions,
            max_payload_size=settings.max_payload_size,
            warn_payload_size=settings.warn_payload_size,
            validate_payloads=settings.validate_payloads,
            multi_tenant=settings.multi_tenant,
        )

    def wait_with(self, immediate: Immediate) -> None:
        """Let every commit wait for its handlers: the setting ``immediate``."""
        self._immediate = immediate
        immediate_commits.attach(self, immediate)

    async def wait_no_more(self) -> None:
        """Let no further commit wait for its handlers, and those that do have their way."""
        immediate_commits.detach(self)
        immediate, self._immediate = self._immediate, None
        if immediate is not None:
            await immediate.stop()

    def disconnect(self) -> None:
        """The instance stops."""
        self._runtime = self._log = self._database = self._alone = None

    @property
    def rules(self) -> PublishRules:
        """How events are sealed."""
        return self._rules

    @property
    def log(self) -> EventLog:
        """Where events are appended; raises ``NotStarted``."""
        return self._log if self._log is not None else self._events.runtime.log

    @property
    def registry(self) -> Registry:
        """Which event classes there are."""
        return self._events.registry

    @property
    def notify(self) -> Literal["after_commit", "transactional", "off"]:
        """How other processes are woken."""
        return self._events.settings.notify

    @property
    def channel(self) -> str:
        """The NOTIFY channel."""
        return self._serving.channel

    @property
    def database(self) -> DatabaseIdentity | None:
        """The database that the drain reads."""
        return self._database

    def committed(self, places: Collection[LogPlace]) -> None:
        """Wake the loops here and elsewhere."""
        if self._runtime is not None:
            self._runtime.committed(places)

    @property
    def run_readings(self) -> RunReadings:
        """Where runs are read; raises ``NotStarted``."""
        return self._jobs.readings

    def job_numbers(self) -> Mapping[str, int]:
        """The numbers of all jobs of this application, by name."""
        return self._jobs.numbers

    def job_number(self, name: str) -> int:
        """The number that the database has for a job; raises ``UnknownJob``."""
        return self._jobs.number(name)

    def trigger_number(self, trigger_id: str) -> int:
        """The number that the database has for a trigger."""
        return self._serving.plan.handlers[trigger_id].number

    @property
    def _jobs(self) -> JobSide:
        jobs = self._serving.jobs
        if jobs is None:
            raise NotStarted("events.jobs needs a started instance: await events.start().")
        return jobs

    @property
    def _serving(self) -> Serving:
        return self._runtime or self._events.runtime

    def count(self, what: str, number: int = 1) -> None:
        """Count an occurrence."""
        self.counts[what] = self.counts.get(what, 0) + number

    def bind(self, session: Any) -> EventPublisher:
        """A publisher bound to a session or connection."""
        return bind_async(self, session)

    async def publish(self, event: Event, *, session: Any, detached: bool, **options: Any) -> Published:
        """Publish on a session, or in a transaction of its own."""
        check_options(options, "session", "detached")
        if session is not None:
            return await self.bind(session)(event, **options)
        if self._alone is not None:
            check_detached(event, detached=detached)
            return await EventPublisher(self, self._alone)(event, **options)
        return await publish_detached(self, event, self._events.session, detached=detached, **options)

    @property
    def jobs(self) -> JobClient:
        """What starts jobs in transactions of its own."""
        return JobClient(self, OwnTransactions(self, self._events.session, self._alone))

    def on_session(self, session: Any, kind: type[Any]) -> Any:
        """A publisher, what starts jobs, or what seals what rows tell, on the session of a job's step.

        Their events have ids of their own: a step is recorded once, with them.
        """
        if kind is Sealer:
            return Sealer(self)
        if kind is JobClient:
            return bind_jobs(self, session)
        return bind_async(self, session) if kind is EventPublisher else bind_sync(self, session)

    async def start_within(self, run: Run, start: RunStart) -> None:
        """Start a run in the transaction of an attempt, as far as its limits allow."""
        await outlet_on(self, run.session).put([start], Site(None, 0))

    def for_run(self, run: Run, kind: type[Any]) -> Any:
        """The publisher of an attempt: bound to its session, or collecting what is appended with its success."""
        if kind is Sealer:
            return Sealer(self, derive_id=_child_ids(run, " emits"))
        if kind is JobClient:
            return JobClient(self, self._outlet_of(run))
        middleware = run.handler.publishing
        # A broadcast handler is called in many processes, each of which publishes events of its own.
        derive = None if run.handler.declaration.broadcast else _child_ids(run)
        if kind is EventPublisher:
            return EventPublisher(self, self._outlet_of(run), derive_id=derive, middleware=middleware)
        on = _bound_to(run)
        if on is not None:
            return bind_sync(self, on, derive_id=derive, middleware=middleware)
        return SyncEventPublisher(self, CollectedSync(run.children, run), derive_id=derive, middleware=middleware)

    def _outlet_of(self, run: Run) -> Outlet:
        on = _bound_to(run)
        if on is None:
            return Collected(run.children, run)
        outlet = outlet_on(self, on)
        return OfJob(outlet, run) if isinstance(run, JobRun) else outlet

    def collecting(self, kind: type[Any], into: list[Sealed]) -> Any:
        """The publisher of a job's step that has no session: what it publishes or starts is kept for its result."""
        if kind is JobClient:
            return JobClient(self, Collected(into))
        if kind is EventPublisher:
            return EventPublisher(self, Collected(into))
        return SyncEventPublisher(self, CollectedSync(into))


def _bound_to(run: Run) -> Any:
    """What carries the transaction of an attempt; None if it has none."""
    return run.session if run.session is not None else run.driver


def _child_ids(run: Run, what: str = "") -> Callable[[], UUID]:
    """Ids that follow from event, handler and ordinal: a second attempt publishes the same events, not others.

    ``what`` tells ordinals apart that are counted each for itself.
    """
    again = f" replay {run.replay}" if run.replay is not None else ""  # what it publishes is new: each replay's once
    if isinstance(run, JobRun) and run.redrives:
        again = f" life {run.redrives}"
    ordinals, by = itertools.count(), run.handler.id + what + again
    return lambda: child_event_id(run.item.id, by, next(ordinals))
