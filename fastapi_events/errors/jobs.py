"""What can go wrong with a run: when it is started, while it works, and when its result is asked for."""

from __future__ import annotations

from uuid import UUID

from fastapi_events.errors.root import EventsError


class JobError(EventsError):
    """Something asked of a job cannot be had; ``run`` is the run that the message is about, if there is one."""

    def __init__(self, message: str, *, run: UUID | None = None) -> None:
        super().__init__(message)
        self.run = run


class UnknownJob(JobError):
    """The job belongs to no module of this application."""


class InvalidInput(JobError):
    """An input cannot be stored, or is not what the job takes; ``path`` names the place inside it."""

    def __init__(self, message: str, *, path: str = "$", run: UUID | None = None) -> None:
        super().__init__(message, run=run)
        self.path = path


class InvalidResult(JobError):
    """What a job or a step returned cannot be stored, or is not what it says; ``path`` names the place inside it."""

    def __init__(self, message: str, *, path: str = "$", run: UUID | None = None) -> None:
        super().__init__(message, run=run)
        self.path = path


class JobCollisionError(JobError):
    """A run was not started: as many as its ``Concurrency`` allows are there, and it says ``reject``; or it would be a
    child that another run stands for, or that takes the place of a run above it."""


class RunNotFound(JobError):
    """There is no run of this id, or not for whoever asks."""


class RunConflict(JobError):
    """A run cannot be started again, because ``run``, another one, has taken its place."""


class StepError(JobError):
    """The steps of a run contradict each other, or those of an earlier attempt."""


class DuplicateStep(StepError):
    """Two steps of one attempt have the same id."""


class UnstableSteps(StepError):
    """An attempt went another way than the steps that are stored: something outside of steps has decided it."""


class CyclicSpawn(StepError):
    """A run would be spawned below itself for ever, or would wait for the place of a run that ends after it."""


class JobFailed(JobError):
    """The run whose result was asked for has failed for good; the message is that of its last error."""


class JobCanceled(JobError):
    """The run whose result was asked for has been canceled."""


class JobTimedOut(JobError):
    """The run whose result was asked for has timed out."""


class WaitTimeout(JobError):
    """What a job waited for, an event or a signal, did not come in time."""


class ResultTimeout(JobError):
    """The result did not come in the time given; the run goes on."""
