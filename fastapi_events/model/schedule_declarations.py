"""The schedules of a module."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from fastapi_events.errors import InvalidSchedule
from fastapi_events.model.declaring import source_place
from fastapi_events.model.job import Job
from fastapi_events.model.job_declarations import JobDeclarations
from fastapi_events.model.job_schedule import JobSchedule, checked_missed, checked_rule, checked_schedule_name
from fastapi_events.model.schedule_decorator import ScheduleDecorator
from fastapi_events.model.unknown_options import check_known

Given = TypeVar("Given")
_OPTIONS = ("tz", "missed", "id", "input")


class ScheduleDeclarations(JobDeclarations):
    """What a module has of schedules: the decorator, and what was declared by it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.declared_schedules: list[JobSchedule] = []

    @overload
    def every(
        self,
        spec: str | timedelta,
        *,
        tz: str = "UTC",
        missed: Literal["once", "skip", "all"] = "once",
        id: str | None = None,
        input: None = None,
    ) -> ScheduleDecorator[None]: ...

    @overload
    def every(
        self,
        spec: str | timedelta,
        *,
        input: Given,
        tz: str = "UTC",
        missed: Literal["once", "skip", "all"] = "once",
        id: str | None = None,
    ) -> ScheduleDecorator[Given]: ...

    def every(
        self,
        spec: str | timedelta,
        *,
        tz: str = "UTC",
        missed: Literal["once", "skip", "all"] = "once",
        id: str | None = None,  # noqa: A002 - the field's word; nobody needs the builtin here
        input: Any = None,  # noqa: A002
        **unknown: Any,
    ) -> Any:
        """Start a job by itself at each tick: once for each, however many processes there are and however they end.

        ``spec`` is a cron expression (five fields, or six with the seconds first) read in the time zone ``tz``, or an
        interval of at least a second, whose first tick is one interval after it was first registered. It is put over
        ``@module.job()``, or over a function, which becomes a job with the default options. ``input`` is what each run
        is given; it may be left out for a ``JobContext[None]``. The run's tick is ``job.run.scheduled_for``.

        ``missed`` says what becomes of ticks that no process was there for: one run for all of them, that of the newest
        (``"once"``); none (``"skip"``, of those more than a minute ago); one for each (``"all"``, the newest 1,000).

        The ``id``, the job's name by default, is its identity in the database: a second schedule of a job needs one of
        its own. Raises ``InvalidSchedule``, ``ContradictoryOptions``, ``UnknownOption`` and what ``job`` raises.
        """
        check_known(unknown, ["spec", *_OPTIONS], owner=f"module {self.name!r}: every()")
        if callable(spec):
            raise InvalidSchedule(
                f"module {self.name!r}: every() was given a function, {source_place(spec)}, in place of a time. Write "
                "the decorator with brackets: @module.every('0 6 * * *')."
            )
        decorator: ScheduleDecorator[Any] = ScheduleDecorator(
            functools.partial(self._add_schedule, spec, tz, missed, id, input)
        )
        return decorator

    def _add_schedule(self, spec: Any, tz: Any, missed: Any, given_id: str | None, value: Any, what: Any) -> Any:
        given: Job[Any, Any] | None = what if _is_job(what) else None
        function = what if given is None else given.function
        named = getattr(what, "__name__", ascii(what)[:80])
        owner = f"{named} ({source_place(what)})" if given is None else str(given)
        rule, policy = checked_rule(spec, tz, owner), checked_missed(missed, owner)
        name = None if given_id is None else checked_schedule_name(given_id, owner)
        self._check_open(f"schedule of {owner}", function)
        job: Job[Any, Any] = self.job()(what) if given is None else given
        self.declared_schedules.append(
            JobSchedule(name or job.name, job, rule, policy, value, job.where, () if name else job.was)
        )
        return job


def _is_job(what: object) -> bool:
    return isinstance(what, Job)
