"""Where attempts put what they publish and start that have no session, and what the publishers of a job refuse."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi_events.api.publishing.caller import Site
from fastapi_events.api.publishing.cancel import refuse_undecided, refuse_without_session
from fastapi_events.api.publishing.outlets import Outlet
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.run_log import current_step
from fastapi_events.engine.run import Run
from fastapi_events.errors import InvalidJob
from fastapi_events.model.run_start import RunStart, Sealed


class CollectedSync:
    """Keeps what is appended with a success, by plain calls. ``owner`` is a job that is not to use it in its steps."""

    def __init__(self, into: list[Sealed], owner: Run | None = None) -> None:
        self._into, self._owner = into, owner

    def put(self, envelopes: Sequence[Sealed], _site: Site, /) -> list[bool]:
        """Keep them."""
        if isinstance(self._owner, JobRun):
            refuse_in_step(self._owner, envelopes)
        refuse_undecided(envelopes)
        self._into.extend(envelopes)
        return [False] * len(envelopes)

    def cancel(self, _event_id: UUID, /) -> bool:
        """Refused."""
        refuse_without_session()


class Collected:
    """The same on an event loop."""

    def __init__(self, into: list[Sealed], owner: Run | None = None) -> None:
        self._inner = CollectedSync(into, owner)

    async def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        """Keep them."""
        return self._inner.put(envelopes, site)

    async def cancel(self, _event_id: UUID, /) -> bool:
        """Refused."""
        refuse_without_session()


class OfJob:
    """On the session of a job, and not for its steps."""

    def __init__(self, outlet: Outlet, run: JobRun) -> None:
        self._outlet, self._run = outlet, run

    async def put(self, envelopes: Sequence[Sealed], site: Site, /) -> list[bool]:
        """Put them where the session puts them."""
        refuse_in_step(self._run, envelopes)
        return await self._outlet.put(envelopes, site)

    async def cancel(self, event_id: UUID, /) -> bool:
        """As the session does."""
        return await self._outlet.cancel(event_id)


def refuse_in_step(run: JobRun, sealed: Sequence[Sealed]) -> None:
    """Raise ``InvalidJob`` within a step: what it puts where its job does is gone with the next pause, while the step
    counts as done."""
    step = current_step.get()
    if step is None:
        return
    starts = any(isinstance(one, RunStart) for one in sealed)
    kind, name, verb = ("JobClient", "jobs", "start") if starts else ("EventPublisher", "publish", "publish")
    raise InvalidJob(
        f"job {run.job.id!r}, step {step!r} would {verb} {sealed[0].name} by the {kind} of its job, which commits with "
        f"the end of the run: a pause would lose it, as the step is not done again. Let the step's function take "
        f"{name}: {kind} itself, which commits with the step."
    )
