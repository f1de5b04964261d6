"""Jobs as this process runs them: the declaration, its checked signature, and its number in the database."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession
from fastapi_events.engine.injection import Signature, read_signature
from fastapi_events.errors import InvalidHandler
from fastapi_events.model.job import Job
from fastapi_events.model.registry import Registry
from fastapi_events.model.retry import Retry


@dataclass(frozen=True, slots=True)
class _Declared:
    """What publishers ask of a handler's declaration."""

    broadcast: bool = False


@dataclass(slots=True, eq=False)
class ReadyJob:
    """A job ready to run. It has what a crew asks of a handler."""

    job: Job[Any, Any]
    signature: Signature
    is_async: bool
    retry: Retry
    timeout: float
    keep_result: float
    announces: bool = False
    number: int = 0
    paused: bool = False
    failed_at: list[float] = field(default_factory=list[float], init=False)
    id: str = field(init=False)
    transactional: bool = field(init=False)
    queues: bool = field(init=False)
    sets_clock: bool = field(init=False)
    simple: bool = field(init=False)
    limited: bool = field(init=False)
    """Whether runs wait at a gate."""

    outside = None
    inside = None
    publishing = None
    declaration = _Declared()

    def __post_init__(self) -> None:
        self.id = self.job.name
        self.limited = self.job.concurrency is not None or self.job.rate_limit is not None
        self.transactional = HandlerSession in self.signature.wants
        self.queues = self.sets_clock = self.transactional or not self.is_async
        self.simple = self.is_async and not self.signature.parameters


def compile_jobs(
    registry: Registry,
    *,
    given: frozenset[type[Any]],
    retry: Retry,
    timeout: float,
    keep_result: float,
    announces: bool = False,
) -> list[ReadyJob]:
    """Read and check the signature of every job; ``given`` are types that can be injected beside a session."""
    known = given | {HandlerSession}
    return [_compile(job, known, retry, timeout, keep_result, announces) for job in registry.jobs.values()]


def _compile(
    job: Job[Any, Any],
    known: frozenset[type[Any]],
    retry: Retry,
    timeout: float,
    keep_result: float,
    announces: bool = False,
) -> ReadyJob:
    owner = f"job {job.name!r} ({job.where})"
    declared: Any = job.function
    function = job.function if not inspect.isclass(job.function) else _without_self(declared.run)
    signature = read_signature(function, known, owner=owner)
    if SyncHandlerSession in signature.wants or (HandlerSession in signature.wants and not job.is_async):
        raise InvalidHandler(f"{owner}: a def job cannot use a HandlerSession. Make it async def.")
    return ReadyJob(
        job=job, signature=signature, is_async=job.is_async, retry=job.retry or retry, timeout=job.timeout or timeout,
        keep_result=keep_result if job.keep_result is None else job.keep_result,
        announces=announces if job.announce is None else job.announce,
    )  # fmt: skip


def _without_self(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method with the signature that it has on an object."""
    bound: Callable[..., Any] = method.__get__(object())
    return bound


class JobPlan:
    """The jobs of this process, by their numbers and by their pools."""

    def __init__(self, jobs: Iterable[ReadyJob]) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.by_number: dict[int, ReadyJob] = {}

    def of_pool(self, pool: str) -> list[ReadyJob]:
        """The jobs of a pool that may be run now."""
        return [job for job in self.by_number.values() if job.job.pool == pool and not job.paused]

    @property
    def pools(self) -> list[str]:
        """The pools that these jobs run in."""
        return sorted({job.job.pool for job in self.jobs.values()})
