"""The jobs of a module."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from fastapi_events.errors import InvalidJob
from fastapi_events.model.declaring import Declaring, source_place
from fastapi_events.model.job import Job
from fastapi_events.model.job_body import check_body
from fastapi_events.model.job_decorator import JobDecorator, TriggeredJobDecorator
from fastapi_events.model.job_limits import Concurrency, Dedupe, RateLimit
from fastapi_events.model.job_options import checked_job_name, checked_job_options
from fastapi_events.model.job_signature import read_types
from fastapi_events.model.job_types import JobTypes
from fastapi_events.model.retry import Retry
from fastapi_events.model.trigger import Makes
from fastapi_events.model.unknown_options import check_known

Made = TypeVar("Made")
Scope = Callable[[Any], tuple[str, Any] | None]


class JobDeclarations(Declaring):
    """What a module has of jobs: the decorator, and what was declared by it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.declared_jobs: list[Job[Any, Any]] = []

    @overload
    def job(
        self,
        name: str | None = None,
        *,
        triggers: Sequence[Makes[Made]],
        pool: str = "batch",
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        scope: Scope | None = None,
        concurrency: Concurrency | None = None,
        dedupe: Dedupe | None = None,
        rate_limit: RateLimit | None = None,
        priority: int = 0,
        replay_from: Literal["scratch", "last_step", "last_checkpoint"] = "last_checkpoint",
        keep_result: float | timedelta | None = None,
        announce: bool | None = None,
        was: Sequence[str] = (),
    ) -> TriggeredJobDecorator[Made]: ...

    @overload
    def job(
        self,
        name: str | None = None,
        *,
        pool: str = "batch",
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        scope: Scope | None = None,
        concurrency: Concurrency | None = None,
        dedupe: Dedupe | None = None,
        rate_limit: RateLimit | None = None,
        priority: int = 0,
        triggers: tuple[()] = (),
        replay_from: Literal["scratch", "last_step", "last_checkpoint"] = "last_checkpoint",
        keep_result: float | timedelta | None = None,
        announce: bool | None = None,
        was: Sequence[str] = (),
    ) -> JobDecorator: ...

    def job(
        self,
        name: str | None = None,
        *,
        pool: str = "batch",
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        scope: Scope | None = None,
        concurrency: Concurrency | None = None,
        dedupe: Dedupe | None = None,
        rate_limit: RateLimit | None = None,
        priority: int = 0,
        triggers: Sequence[Makes[Any]] = (),
        replay_from: Literal["scratch", "last_step", "last_checkpoint"] = "last_checkpoint",
        keep_result: float | timedelta | None = None,
        announce: bool | None = None,
        was: Sequence[str] = (),
        **unknown: Any,
    ) -> Any:
        """Declare a job: a function, async or plain, whose first parameter is a ``JobContext`` of its input.

        It becomes a ``Job``, which ``jobs.start`` makes runs of. A class with such a method ``run`` is as good: it is
        made without arguments for each attempt (for mypy write ``restock = module.job()(Restocking)``). Other
        parameters are filled as a handler's. Input and result are stored as JSON, by their types: Pydantic models,
        dataclasses, plain values. The ``name``, ``module.function`` by default, is its identity in the database: keep
        it, or list old ones in ``was``.

        ``pool`` is where runs execute: ``"batch"``, ``"interactive"``, or one of the settings. ``retry`` and
        ``timeout`` (seconds) are those of an attempt, by default the settings'. ``scope`` makes of an input what its
        run belongs to, a pair of a type and an id. ``concurrency``, ``dedupe`` and ``rate_limit`` bound its runs,
        ``priority`` says which of those that wait goes first: the highest, from -32,767 to 32,767. ``triggers`` are the
        events that start it. ``replay_from`` is what a failed run that is started again keeps: nothing
        (``"scratch"``), all finished steps, or those before the last checkpoint. The result is kept ``keep_result``
        seconds (default: the setting). ``announce`` says whether the end of each run is an audit event, ``RunEnded``
        (default: the setting).

        Raises ``InvalidJob``, ``UnknownOption``, ``ContradictoryOptions``, ``DuplicateTrigger`` and
        ``ReservedPoolViolationError``.
        """
        given = {
            "pool": pool, "retry": retry, "timeout": timeout, "scope": scope, "concurrency": concurrency,
            "dedupe": dedupe, "rate_limit": rate_limit, "priority": priority, "triggers": triggers,
            "replay_from": replay_from, "keep_result": keep_result, "announce": announce, "was": was,
        }  # fmt: skip
        check_known(unknown, ["name", *given], owner=f"module {self.name!r}: job()")
        self._check_name(name)
        return JobDecorator(functools.partial(self._add_job, name, given))

    def _check_name(self, name: Any) -> None:
        if callable(name):
            raise InvalidJob(
                f"module {self.name!r}: job() was given a function, {source_place(name)}, in place of a name. Write "
                "the decorator with brackets: @module.job()."
            )

    def _add_job(self, given_name: str | None, given: dict[str, Any], function: Any) -> Job[Any, Any]:
        function_name = getattr(getattr(function, "function", function), "__name__", type(function).__name__)
        default = f"{self.name}.{function_name}"
        name = checked_job_name(default if given_name is None else given_name)
        owner = f"job {name!r}"
        options = checked_job_options(name, owner, **given)
        placed = f"{owner} ({source_place(function)})"
        check_body(function, placed)
        self._check_open(owner, function)
        types = JobTypes(functools.partial(read_types, function, placed), placed)
        types.look()
        job: Job[Any, Any] = Job(name, self.name, function, types, **options)
        self.declared_jobs.append(job)
        return job
