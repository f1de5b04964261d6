"""What a job is given to work with, and what its starter gets back."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload
from uuid import UUID

from fastapi_events.errors import InvalidJob
from fastapi_events.model.event import Event
from fastapi_events.model.job import Job
from fastapi_events.model.retry import Retry, Seconds

Out_co = TypeVar("Out_co", covariant=True)
In = TypeVar("In")
In_co = TypeVar("In_co", covariant=True)
Out = TypeVar("Out")
R = TypeVar("R")
T = TypeVar("T")
E = TypeVar("E", bound=Event)

RunState = Literal["pending", "running", "completed", "failed", "timed_out", "canceled"]
ClosePolicy = Literal["terminate", "cancel", "abandon"]
RunSource = Literal["manual", "schedule", "event", "parent"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as its job sees it: what does not change while it is being run. Times are in UTC."""

    id: UUID
    """What ``jobs.start`` has returned as ``run``."""
    job: str
    """The job's name."""
    attempt: int
    """The number of this attempt, from 1, counted on where the run was begun anew."""
    root_id: UUID
    """The run that all this has begun with: its own id, if no other run has spawned it."""
    parent_id: UUID | None
    """The run that has spawned it."""
    tags: tuple[str, ...]
    scope: tuple[str, str] | None
    """Type and id of what the run belongs to."""
    tenant_id: str | None
    correlation_id: UUID
    created_at: datetime
    """When it was started, by the database's clock."""
    scheduled_for: datetime | None = None
    """The tick that it is for, in UTC, if a schedule has started it; the run may begin later."""


@dataclass(frozen=True, slots=True)
class Started(Generic[Out_co]):
    """What ``jobs.start`` returns. The run is there with the commit of the transaction that started it."""

    run: UUID
    """Its id."""
    existing: bool = False
    """No run was started: this one, which was there, stands for it (see ``Dedupe``)."""


@dataclass(frozen=True, slots=True)
class Child(Generic[Out_co]):
    """A run that another one has spawned. It is not awaited: ``gather_children(child)`` waits for its result."""

    run: UUID
    """Its id."""
    job: str
    """Its job's name."""

    if not TYPE_CHECKING:  # to checkers a child cannot be awaited

        def __await__(self) -> NoReturn:
            raise InvalidJob(
                f"A child ({self.job}) is not awaited by itself: [result] = await job.gather_children(child)."
            )


class JobContext(ABC, Generic[In_co]):
    """What a job's function gets first: its input and its run, and what makes work durable.

    A job is run again from the top after a crash, a failure and each pause: what must not be done twice belongs into a
    ``step``. Between steps its code decides by nothing but the input and the results of steps.

    Example::

        @inventory.job()
        async def restock(job: JobContext[Restock]) -> RestockResult:
            quote = await job.step("quote", fetch_quote, job.input.sku)
            order = await job.step("order", place_supplier_order, quote)
            return RestockResult(order_id=order.id)

    A job without input takes ``JobContext[None]``.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def input(self) -> In_co:
        """What the run was started with."""

    @property
    @abstractmethod
    def run(self) -> RunInfo:
        """The run: its id, its place in the tree of runs, and what it belongs to."""

    @property
    @abstractmethod
    def attempt(self) -> int:
        """The number of this attempt, from 1. A pause does not end it; a run that is begun anew counts from 1 again."""

    @property
    @abstractmethod
    def redelivered(self) -> bool:
        """Whether something may be done again that ``attempt`` does not tell of.

        True for the rest of the run once its process has vanished or lost it, or an attempt was interrupted (a process
        that stops, the infrastructure), or spent nothing and left a step without its result; and in a run that is begun
        anew. Where it is False and ``attempt`` is 1, no function of a step without a result has ever been called.
        """

    @property
    @abstractmethod
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines are kept with the run, and go to the logger ``fastapi_events.jobs``.

        Kept are those from ``EVENTS_RUN_LOG`` on, whatever levels the application has set; within half a second, and
        before the attempt is recorded. ``extra={...}`` is kept beside the message.
        """

    @overload
    @abstractmethod
    async def step(
        self,
        id: str,
        fn: Callable[..., Awaitable[R]],
        *args: Any,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
    ) -> R: ...

    @overload
    @abstractmethod
    async def step(
        self, id: str, fn: Callable[..., R], *args: Any, retry: Retry | None = None, timeout: Seconds | None = None
    ) -> R: ...

    @abstractmethod
    async def step(
        self,
        id: str,  # noqa: A002 - the field's word; nobody needs the builtin here
        fn: Callable[..., Any],
        *args: Any,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
    ) -> Any:
        """Call a function once for the run, and remember what it returns.

        ``fn`` is called with ``args`` and whatever else its signature asks for; an async function is awaited, a plain
        one runs in a thread. ``id`` is the step's identity: stable, its own in the run, 1 to 200 characters without
        colons, and not a number alone. Once the result is stored the function is not called again, whatever happens to
        the attempt; the result comes back as it is stored, by the function's return annotation, the first time too.
        With a ``HandlerSession`` its effects and its result commit together: exactly once.

        ``retry`` (default: none of its own) is for the step alone, its attempts counted over those of the job;
        ``timeout`` is in seconds and for each call (default: none but the attempt's). Arguments by keyword are given by
        ``functools.partial``. Raises what the function raises, ``TimeoutError``, ``DuplicateStep``, ``UnstableSteps``,
        ``InvalidJob`` and ``InvalidResult``.
        """

    @abstractmethod
    async def sleep(self, duration: Seconds, *, id: str | None = None) -> None:  # noqa: A002 - as in step
        """Go on after so many seconds (or a ``timedelta``), in whatever process; nothing is held meanwhile.

        The moment is fixed, by the database's clock, when the sleep is first come to. 0 is no pause; raises
        ``ContradictoryOptions`` for less, and for more than ten years.

        Sleeps, waits, spawns and checkpoints are told apart by their order in the attempt, each kind by itself. Where
        that may differ between attempts (branches at the same time, or code that changes while runs are under way),
        give each an ``id``, as for a step.
        """

    @abstractmethod
    async def wait_for(
        self,
        event: type[E],
        *,
        key: str | None = None,
        timeout: Seconds | None = None,
        id: str | None = None,  # noqa: A002 - as in step
    ) -> E:
        """Go on with the first event of a class, of one ordering ``key`` if given, that comes after the wait began.

        It is the first by position of those that were not visible then: what was there before is not heard, for which
        there is ``signal``. ``key`` is the event's, as a string, in the run's tenant; without it any event of the class
        will do, of whatever tenant.

        ``timeout`` is in seconds (default: none, for ever), ``id`` as for ``sleep``. Raises ``WaitTimeout``, in later
        attempts too, ``AuditEventTriggerError``, ``InvalidJob`` for a class whose events never come, ``InvalidResult``
        for one that cannot be read, and ``UnstableSteps`` where an earlier attempt waited for something else in its
        place.
        """

    @abstractmethod
    async def signal(
        self,
        name: str,
        type: type[T],  # noqa: A002 - as `id` above
        *,
        timeout: Seconds | None = None,
        id: str | None = None,  # noqa: A002 - as in step
    ) -> T:
        """Go on when somebody sends this run a signal of this name, with what was sent, as a ``type``.

        ``jobs.signal(run, name, value)`` sends it. Signals are kept from then on, before they are asked for too, and
        taken in the order of sending, each once. ``timeout`` is in seconds (default: none, for ever), ``id`` as for
        ``sleep``. Raises ``WaitTimeout``, in later attempts too, ``InvalidInput`` for a name that is none,
        ``InvalidResult`` for a signal, which is taken all the same, that is no ``type``, and ``UnstableSteps``.
        """

    @abstractmethod
    async def spawn(
        self,
        job: Job[In, Out],
        input: In,  # noqa: A002 - as `id` above
        *,
        on_parent_close: Literal["terminate", "cancel", "abandon"] = "cancel",
        id: str | None = None,  # noqa: A002 - as in step
    ) -> Child[Out]:
        """Start a run below this one, once for the run, at once and durably.

        ``on_parent_close`` says what becomes of it when this run ends, however it ends: ``"terminate"`` (at once),
        ``"cancel"`` (it may clean up) or ``"abandon"`` (nothing). ``id`` is as for ``sleep``. Raises ``InvalidInput``,
        ``UnknownJob``, ``CyclicSpawn``, ``JobCollisionError`` where a limit of the job refuses it, and
        ``UnstableSteps`` where an earlier attempt spawned another job in its place or, without an ``id``, gave it
        another input.
        """

    @overload
    @abstractmethod
    async def gather_children(self) -> list[Any]: ...

    @overload
    @abstractmethod
    async def gather_children(self, first: Child[T], /, *others: Child[T]) -> list[T]: ...

    @abstractmethod
    async def gather_children(self, *children: Child[Any]) -> list[Any]:
        """Wait for the results of these children, in their order; of all so far, if none is named.

        Raises ``JobFailed``, ``JobCanceled`` or ``JobTimedOut`` for the first of them that ended so, whose id is
        ``run`` of the error; the others may be at work then. Whoever wants their results asks for one after the other.
        """

    @abstractmethod
    async def progress(self, done: float, total: float | None = None) -> None:
        """Say how far the run is, for people, at once: the last numbers are shown with the run.

        Both are numbers from 0, of whatever unit. Raises ``InvalidInput``.
        """

    @abstractmethod
    async def heartbeat(self) -> None:
        """Let the time-out of the attempt begin anew: for work that gets on, and takes longer in all.

        Time-outs of steps, and of the transaction of a session, go on.
        """

    @abstractmethod
    async def checkpoint(self, *, id: str | None = None) -> None:  # noqa: A002 - as in step
        """Mark a place that a replay of the run may begin from: what was done before stays done.

        Recorded once for the run, durably; ``id`` as for ``sleep``. Attempts of themselves begin at no checkpoint: they
        keep every step.
        """
