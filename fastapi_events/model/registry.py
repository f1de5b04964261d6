"""The registry: every handler and event class of an application, assembled and checked once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi_events.errors import DuplicateEvent, DuplicateHandler, UnknownEvent
from fastapi_events.model.broadcast import audit_trigger
from fastapi_events.model.event import Event, declared_tiers, importable_classes, importable_names, options_of
from fastapi_events.model.event_parameter import check_selected_event
from fastapi_events.model.job import Job
from fastapi_events.model.job_catalogue import add_job, check_former_names, check_triggers
from fastapi_events.model.job_schedule import JobSchedule
from fastapi_events.model.module import HandlerDeclaration, Module
from fastapi_events.model.names import is_pattern, one_slip_apart
from fastapi_events.model.schedule_catalogue import add_schedule
from fastapi_events.model.trigger_declarations import declarations_of
from fastapi_events.model.upcast import Upcasters


class Registry:
    """Handlers by id, jobs by name, event classes by name and version; raises on anything declared twice."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules = tuple(modules)
        self.handlers: dict[str, HandlerDeclaration] = {}
        self.jobs: dict[str, Job[Any, Any]] = {}
        self.schedules: dict[str, JobSchedule] = {}
        self._classes: dict[tuple[str, int], type[Event]] = {}
        self._by_name: dict[str, list[type[Event]]] = {}
        self._learned: set[type[Event]] = set()
        for module in self.modules:
            for handler in module.handlers:
                self._add_handler(handler)
            for job in module.declared_jobs:
                self._add_job(job)
        for schedule in [schedule for module in self.modules for schedule in module.declared_schedules]:
            add_schedule(self.schedules, schedule, self.jobs)
        check_former_names(self.jobs)
        check_triggers(self.jobs, self.handlers)
        self.triggers = declarations_of(self.jobs.values())
        self.upcasters = Upcasters(step for module in self.modules for step in module.upcasters)
        self._check_names()
        self._check_audit_names()

    def _add_handler(self, handler: HandlerDeclaration) -> None:
        other = self.handlers.get(handler.id)
        if other is not None and other is not handler:
            raise DuplicateHandler(
                f"Two handlers have the id {handler.id!r}: {other.where} and {handler.where}. "
                "Rename one function or give it id='…'."
            )
        self.handlers[handler.id] = handler
        if handler.event_class is not None:
            self.learn(handler.event_class)

    def _add_job(self, job: Job[Any, Any]) -> None:
        add_job(self.jobs, job)
        for trigger in job.triggers:
            self.learn(trigger.event)

    def learn(self, event_class: type[Event]) -> None:
        """Make a class known; raises ``DuplicateEvent`` if another one has its name and version."""
        if event_class in self._learned:
            return
        options = options_of(event_class)
        if options is None:
            return
        known = self._classes.setdefault((options.name, options.version), event_class)
        if known is not event_class:
            raise DuplicateEvent(
                f"{known.__module__}.{known.__qualname__} and {event_class.__module__}.{event_class.__qualname__} both "
                f"declare the event {options.name!r}, version {options.version}. Rename one or raise its version."
            )
        self._learned.add(event_class)
        classes = [*self._by_name.get(options.name, ()), event_class]
        self._by_name[options.name] = sorted(classes, key=_version_of, reverse=True)

    def class_of(self, name: str, version: int) -> type[Event] | None:
        """The class that declares an event, or None if this process does not know it."""
        return self._classes.get((name, version))

    def classes_of(self, name: str) -> list[type[Event]]:
        """The known classes of an event, the newest version first."""
        return self._by_name.get(name, [])

    def check_upcasters(self) -> None:
        """Raise ``MissingUpcaster`` for a handler of a class to whose version not all older ones can be lifted.

        Only at the start is everything declared: a step may be declared after the handler, in another module.
        """
        for handler in self.handlers.values():
            if handler.event_class is not None:
                self.upcasters.check(handler.event_class, handler=f"handler {handler.id!r} ({handler.where})")
        for job in self.jobs.values():
            for trigger in job.triggers:
                self.upcasters.check(trigger.event, handler=f"a trigger of {job}")

    def check_annotations(self) -> None:
        """Raise ``InvalidHandler`` for a handler by name or wildcard that selects an event which it does not take.

        Every class of the process counts: to publish an event is enough to make its class known.
        """
        by_name = [handler for handler in self.handlers.values() if handler.event_class is None]
        declared = self._declared() if by_name else {}
        for handler in by_name:
            owner = f"handler {handler.id!r} ({handler.where}) selects {handler.selects!r}"
            for (name, _), same in declared.items():
                heard = [one for one in same if handler.hears(name, audit=_is_audit(one))]
                if heard:
                    check_selected_event(handler.function, heard, in_lists=handler.batch is not None, owner=owner)

    def _declared(self) -> dict[tuple[str, int], list[type[Event]]]:
        """The classes by name and version: those that are known; where none is, those that might come to be."""
        found: dict[tuple[str, int], list[type[Event]]] = {}
        for event_class in importable_classes():
            options = options_of(event_class)
            if options is not None:
                found.setdefault((options.name, options.version), []).append(event_class)
        return dict(sorted((found | {place: [known] for place, known in self._classes.items()}).items()))

    def handlers_for(self, name: str, *, audit: bool) -> list[HandlerDeclaration]:
        """The handlers that are given events of this name, audit events or not, in the order of their declaration.

        Behind them the triggers of jobs.
        """
        everybody = (*self.handlers.values(), *self.triggers.values())
        return [handler for handler in everybody if handler.hears(name, audit=audit)]

    @property
    def event_classes(self) -> dict[tuple[str, int], type[Event]]:
        """Every known class by (name, version)."""
        return dict(self._classes)

    def _check_names(self) -> None:
        """Refuse a handler by name whose name is a slip of the pen for one that is declared, and nobody's else."""
        by_name = [h for h in self.handlers.values() if h.event_class is None and not is_pattern(h.selects)]
        names = importable_names().union(name for name, _ in self._classes) if by_name else set[str]()
        for handler in by_name:
            if handler.selects in names:
                continue
            near = next((name for name in sorted(names) if one_slip_apart(handler.selects, name)), None)
            if near is not None:
                raise UnknownEvent(
                    f"handler {handler.id!r} ({handler.where}) selects {handler.selects!r}, which no class declares. "
                    f"Did you mean {near!r}? If there is such an event, declare its class or select it by a wildcard."
                )

    def _check_audit_names(self) -> None:
        """Refuse a durable handler by the name of an event that every class of that name declares to be for audit."""
        for handler in self.handlers.values():
            if handler.broadcast or handler.event_class is not None or is_pattern(handler.selects):
                continue
            known = [options_of(cls) for (name, _), cls in self._classes.items() if name == handler.selects]
            if declared_tiers(handler.selects).union(options.tier for options in known if options) == {"audit"}:
                raise audit_trigger(f"handler {handler.id!r} ({handler.where})", repr(handler.selects))


def _is_audit(event_class: type[Event]) -> bool:
    options = options_of(event_class)
    return options is not None and options.tier == "audit"


def _version_of(event_class: type[Event]) -> int:
    options = options_of(event_class)
    return options.version if options else 0
