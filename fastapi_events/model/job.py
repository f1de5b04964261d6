"""Jobs as declared: durable work over a typed input, which ``jobs.start`` makes runs of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar

from pydantic import TypeAdapter

from fastapi_events.errors import EventsError, InvalidInput, InvalidPayload, InvalidResult, JobError
from fastapi_events.model.declaring import source_place
from fastapi_events.model.job_keys import checked_key, checked_scope, key_of_whole
from fastapi_events.model.job_limits import Concurrency, Dedupe, RateLimit
from fastapi_events.model.job_types import JobTypes, called_by, is_class
from fastapi_events.model.retry import Retry
from fastapi_events.model.trigger import Trigger
from fastapi_events.model.values import decode_value, encode_value, given_another

In = TypeVar("In")
Out = TypeVar("Out")
ReplayFrom = Literal["scratch", "last_step", "last_checkpoint"]
DEFAULT_POOL = "batch"
WHOLE_JOB = ""
"""The key of what holds for a job's runs together; no key of a user's is empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[In, Out]):
    """A job as declared by ``Module.job``: what is run, and how. It is started, not called: ``jobs.start(job, input)``.

    Times are in seconds; None stands for the setting.
    """

    name: str
    module: str
    function: Callable[..., Any]
    """A function, or a class with ``run``; ``make()`` gives what an attempt calls."""
    types: JobTypes
    pool: str = DEFAULT_POOL
    retry: Retry | None = None
    timeout: float | None = None
    scope: Callable[[Any], tuple[str, Any] | None] | None = None
    concurrency: Concurrency | None = None
    dedupe: Dedupe | None = None
    rate_limit: RateLimit | None = None
    priority: int = 0
    triggers: tuple[Trigger[Any, Any], ...] = ()
    replay_from: ReplayFrom = "last_checkpoint"
    keep_result: float | None = None
    announce: bool | None = None
    was: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"job {self.name!r} ({self.where})"

    def __repr__(self) -> str:
        return f"<Job {self.name!r}>"

    if not TYPE_CHECKING:  # to checkers a job cannot be called, and has no other attributes

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(
                f"job {self.name!r} has no {name!r}. It is started by a client: run = await jobs.start({self._shown}, "
                "...), with delay= or run_at= for later."
            )

        def __call__(self, *_arguments: Any, **_more: Any) -> NoReturn:
            raise JobError(
                f"job {self.name!r} is not called but started: run = await jobs.start({self._shown}, ...). To call its "
                f"code by itself, as a test may, take {self._shown}.function."
            )

    @property
    def where(self) -> str:
        """File and line of the function, for people."""
        return source_place(self.function)

    @property
    def input_type(self) -> Any:
        """What the input is; ``type(None)`` for a job without input."""
        return self.types.read().input_type

    @property
    def output_type(self) -> Any:
        """What the function says that it returns; ``Any`` if it says nothing."""
        return self.types.read().output_type

    @property
    def input_adapter(self) -> TypeAdapter[Any]:
        """What makes JSON of an input, and back."""
        return self.types.read().input_adapter

    @property
    def output_adapter(self) -> TypeAdapter[Any]:
        """What makes JSON of a result, and back."""
        return self.types.read().output_adapter

    @property
    def is_async(self) -> bool:
        """Whether an attempt is awaited; a plain function is called in a thread."""
        called = called_by(self.function)
        return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(type(called).__call__)

    def make(self) -> Callable[..., Any]:
        """What one attempt calls: the function, or ``run`` of a fresh object of the class."""
        if not is_class(self.function):
            return self.function
        run: Callable[..., Any] = self.function().run
        return run

    def dump_input(self, value: In, *, max_size: int | None = None) -> str:
        """The input as JSON text of at most ``max_size`` bytes, which ``load_input`` can read back.

        Raises ``InvalidInput``, with the path inside the input.
        """
        types = self.types.read()
        wrong = given_another(value, types.input_type)
        if wrong:
            raise InvalidInput(f"job {self.name!r} {wrong}")
        try:
            return encode_value(
                value,
                types.input_adapter,
                types.input_type,
                what="input",
                owner=f"job {self.name!r}",
                max_size=max_size,
            )
        except InvalidPayload as error:
            raise InvalidInput(str(error), path=error.path) from error.__cause__

    def load_input(self, text: str | bytes, *, stored: bool = True) -> In:
        """The input that was stored as this text; raises ``InvalidInput`` if the job does not take it (any more).

        Not ``stored``: one that is given as JSON.
        """
        try:
            value: In = decode_value(
                text, self.input_adapter, self.input_type, what="input", owner=f"job {self.name!r}", stored=stored
            )
        except InvalidPayload as error:
            raise InvalidInput(str(error), path=error.path) from error.__cause__
        return value

    def dump_result(self, value: Any, *, max_size: int | None = None) -> str:
        """The result as JSON text of at most ``max_size`` bytes, which ``load_result`` can read back.

        Raises ``InvalidResult``, with the path inside the result.
        """
        try:
            return encode_value(
                value, self.output_adapter, self.output_type, what="result", owner=f"job {self.name!r}",
                max_size=max_size,
            )  # fmt: skip
        except InvalidPayload as error:
            raise InvalidResult(str(error), path=error.path) from error.__cause__

    def load_result(self, text: str | bytes) -> Out:
        """The result that was stored as this text; raises ``InvalidResult`` if it is not what the job returns now."""
        try:
            value: Out = decode_value(
                text, self.output_adapter, self.output_type, what="result", owner=f"job {self.name!r}"
            )
        except InvalidPayload as error:
            raise InvalidResult(str(error), path=error.path) from error.__cause__
        return value

    def scope_of(self, value: In) -> tuple[str, str] | None:
        """Type and id of what a run with this input belongs to; raises ``InvalidInput`` for what cannot be one."""
        return checked_scope(self.scope(value), f"job {self.name!r}") if self.scope is not None else None

    def concurrency_key(self, value: In) -> str | None:
        """The key by which a run with this input is limited, ``WHOLE_JOB`` without one; None if it is not limited."""
        limit = self.concurrency
        return None if limit is None else self._key(limit.key, value, "concurrency")

    @property
    def asks(self) -> bool:
        """Whether a start may have to ask the database if there is to be a run."""
        return self.dedupe is not None or (self.concurrency is not None and self.concurrency.on_collision != "queue")

    def rate_limit_key(self, value: In) -> str | None:
        """The key by which the rate of runs with this input is limited, as ``concurrency_key``."""
        limit = self.rate_limit
        return None if limit is None else self._key(limit.key, value, "rate_limit")

    def dedupe_key(self, value: In, text: str) -> str | None:
        """The key by which a start with this input is a duplicate; ``text`` is the input as it is stored.

        Without a function for it, a digest of the input; None if it never is one.
        """
        if self.dedupe is None:
            return None
        return key_of_whole(text) if self.dedupe.key is None else self._key(self.dedupe.key, value, "dedupe")

    def _key(self, function: Callable[[Any], str | None] | None, value: In, option: str) -> str | None:
        return WHOLE_JOB if function is None else checked_key(function(value), option, f"job {self.name!r}")

    @property
    def _shown(self) -> str:
        return str(getattr(self.function, "__name__", "job"))


def checked_job(job: Any, owner: str, example: str, error: type[EventsError] = InvalidInput) -> Job[Any, Any]:
    """What is a job; ``error`` for anything else, such as its name or its function."""
    given, shown = job, ascii(job)[:80]
    if not isinstance(job, Job):
        raise error(f"{owner} takes a job, not {shown}. Pass what @module.job() made: {example}.")
    found: Job[Any, Any] = given
    return found
