"""What operators do to runs: cancel, retry, replay, edit. Each is recorded with its actor."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal
from uuid import UUID

from fastapi_events.api.observe.filters import as_uuid
from fastapi_events.api.observe.given import aware, whole
from fastapi_events.api.unknown_handler import NEAR_NAME
from fastapi_events.errors import InvalidInput, OperationRefused
from fastapi_events.model.edited_input import EditedInput, edited_input
from fastapi_events.model.job import Job, ReplayFrom
from fastapi_events.model.job_replay import checked_place
from fastapi_events.model.lane import LogPlace, place_of
from fastapi_events.model.run_start import CANCELED, READY, RUNS
from fastapi_events.store.redrives import Anew
from fastapi_events.store.run_actions import RunAct, RunActionStore

MOST_RUNS = 10_000
RetryState = Literal["failed", "timed_out", "canceled"]
Jobs = Callable[[], Mapping[str, Job[Any, Any]]]
"""The jobs that this process has in its code, by name."""
_UNSUCCESSFUL: tuple[RetryState, ...] = ("failed", "timed_out", "canceled")


@dataclass(frozen=True, slots=True)
class RunInTheWay:
    """A run that was left as it is, because another one, ``rival``, has its dedupe key or its place by now."""

    run: UUID
    rival: UUID


@dataclass(frozen=True, slots=True)
class RunsChanged:
    """What an action did: of ``asked`` runs, ``changed`` were in a state that allowed it, and nobody was in their way.

    ``conflicts`` are those in whose way another run was.
    """

    asked: int
    changed: int
    conflicts: tuple[RunInTheWay, ...] = ()


class RunOperations:
    """Runs of one group's jobs, changed by an operator's hand; every call is recorded with its actor and reason.

    Ids are UUIDs, or their text. With one that is no run of the group, or of another tenant than ``within`` names,
    nothing is changed and ``NotFound`` is raised. All raise ``OperationRefused`` for what is no id, for more than
    10,000, and without an actor; ``OperationUnavailable`` for what may be tried again.
    """

    def __init__(
        self, store: RunActionStore, group_id: Callable[[], int], jobs: Jobs,
        told: Callable[[Collection[LogPlace]], None], tenants: tuple[str, ...] | None,
    ) -> None:  # fmt: skip
        self._store, self._group_id, self._jobs, self._told, self._tenants = store, group_id, jobs, told, tenants

    async def cancel(self, run_ids: Sequence[UUID | str], *, actor: str, reason: str = "") -> RunsChanged:
        """Cancel runs that have not ended: those that wait end at once, those at work are interrupted where they await.

        ``reason`` is kept with each.
        """
        act = self._act("cancel_runs", run_ids, actor, reason)
        return self._after(act, await self._store.cancel(self._group_id(), act), CANCELED)

    async def retry(self, run_ids: Sequence[UUID | str], *, actor: str, reason: str = "") -> RunsChanged:
        """Let runs that failed, timed out or were cancelled begin anew, with a fresh budget of attempts.

        What their steps have done stays done, and their limits hold again: one whose dedupe key another run has by now,
        or beside which its job's ``Concurrency`` allows none, stays as it is, and is among the ``conflicts``.
        """
        act = self._act("retry_runs", run_ids, actor, reason)
        return self._begun(act, await self._store.retry(self._group_id(), act))

    async def retry_matching(
        self, *, job: str | None = None, state: RetryState | None = None, finished_before: datetime, limit: int = 1000,
        actor: str, reason: str = "",
    ) -> RunsChanged:  # fmt: skip
        """Retry up to ``limit`` runs that ended before ``finished_before`` (with a time zone), the first first.

        Those of one ``job``, or of all; those that ended as ``state`` says, else those that failed or timed out.
        Raises ``OperationRefused``, also for a job that the group does not have.
        """
        _check_actor(actor)
        if not 1 <= whole("limit", limit) <= MOST_RUNS:
            raise OperationRefused(f"limit={limit}: one action changes 1 to {MOST_RUNS:,} runs. Do it in parts.")
        ids = await self._store.matching(
            await self._numbers(job), _states(state), until=aware("finished_before", finished_before), limit=limit,
            tenants=self._tenants,
        )  # fmt: skip
        return await self.retry(ids, actor=actor, reason=reason) if ids else RunsChanged(0, 0)

    async def discard(self, run_ids: Sequence[UUID | str], *, actor: str, reason: str) -> RunsChanged:
        """Give runs up that failed or timed out: they are dead no more, and may still be retried or replayed by id.

        ``reason`` is kept with each. Raises ``OperationRefused`` without one.
        """
        act = self._act("discard_runs", run_ids, actor, reason)
        if not reason.strip():
            raise OperationRefused("A discard needs a reason: it is kept with the run for whoever asks later.")
        return RunsChanged(len(act.ids), len(await self._store.discard(self._group_id(), act)))

    async def replay(
        self, run_ids: Sequence[UUID | str], *, from_: ReplayFrom | None = None, actor: str, reason: str = ""
    ) -> RunsChanged:
        """Let runs that have ended, however they did, begin again: from ``scratch``, from the ``last_step`` that was
        done, or from the ``last_checkpoint``. Left out, it is each job's ``replay_from``.

        Steps before that place stay done; those behind it are done again. Limits hold as in ``retry``.
        """
        act = self._act("replay_runs", run_ids, actor, reason)
        place = None if from_ is None else _place(from_)
        jobs = await self._store.jobs_of(self._group_id(), act.ids, self._tenants)
        starts: dict[UUID, ReplayFrom] = {run_id: place or self._default(name) for run_id, name in jobs.items()}
        detailed = RunAct(act.action, act.ids, actor, reason, self._tenants, {"from": place or "as each job says"})
        return self._begun(act, await self._store.replay(self._group_id(), detailed, starts))

    async def edit_and_retry(
        self, run_id: UUID | str, value: Any, *, from_: ReplayFrom | None = None, actor: str, reason: str = ""
    ) -> bool:
        """Let a run that failed, timed out or was cancelled begin anew with another input.

        ``value`` is an input of the job's type, or its JSON value; it is checked by the job as this process has it.
        The input that the run had is kept with the action: ``observe.run(id)`` has it. Scope and keys of limits follow
        from the new input, but for a scope that was given with the start; tags and priority stay. What its steps have
        done stays done, unless ``from_`` says from where they are to be done again. Returns whether the run was in a
        state that allowed it. Raises ``OperationRefused`` for a job that this process does not have, ``InvalidInput``
        with the path inside the input, and ``RunConflict``, naming it, if another run has its new dedupe key or place.
        """
        act = self._act("edit_run", [run_id], actor, reason)
        job = await self._job_of(act.ids[0])
        text = _input_text(job, value)
        given = job.load_input(text)
        place = None if from_ is None else _place(from_)
        edited = RunAct(act.action, act.ids, actor, reason, self._tenants, {"job": job.name, "from": place})

        def edit(row: Any) -> EditedInput:
            scope = (row["scope"], row["scope_id"]) if row["scope"] is not None else None
            return edited_input(job, given, text, row["input"], scope, row["window_key"], tenant=row["tenant_id"])

        changed = await self._store.edit(self._group_id(), edited, edit, place)
        return bool(self._after(act, act.ids if changed else (), READY).changed)

    def _default(self, name: str) -> ReplayFrom:
        job = self._jobs().get(name)
        return job.replay_from if job is not None else "last_checkpoint"

    async def _job_of(self, run_id: UUID) -> Job[Any, Any]:
        name = (await self._store.jobs_of(self._group_id(), [run_id], self._tenants))[run_id]
        job = self._jobs().get(name)
        if job is None:
            raise OperationRefused(
                f"This process does not have the job {name!r}, so nobody can say whether it takes the input. Do it "
                "where the application has it."
            )
        return job

    async def _numbers(self, job: str | None) -> list[int]:
        rows = await self._store.jobs(self._group_id())
        found = [row["id"] for row in rows if job is None or row["name"] == job]
        found = found or [row["id"] for row in rows if job in row["former_names"]]
        if job is not None and not found:
            raise unknown_job(job, [row["name"] for row in rows])
        return found

    def _act(self, action: str, run_ids: Sequence[UUID | str], actor: str, reason: str) -> RunAct:
        _check_actor(actor)
        if isinstance(run_ids, (str, UUID)):
            raise OperationRefused(f"{str(run_ids)[:60]!r} is not a list of run ids. Put it in brackets: [run_id].")
        if len(run_ids) > MOST_RUNS:
            raise OperationRefused(f"{len(run_ids):,} runs at once; one action changes {MOST_RUNS:,} at most.")
        ids = list(dict.fromkeys(map(_checked_id, run_ids)))
        return RunAct(action, ids, actor, reason, self._tenants)

    def _begun(self, act: RunAct, anew: Anew) -> RunsChanged:
        done = self._after(act, anew.begun, READY)
        return replace(done, conflicts=tuple(RunInTheWay(one.run, one.rival) for one in anew.conflicts))

    def _after(self, act: RunAct, changed: Sequence[UUID], what: int) -> RunsChanged:
        if changed:
            self._told({place_of(RUNS, what)})
        return RunsChanged(len(act.ids), len(changed))


def unknown_job(name: object, known: Sequence[str]) -> OperationRefused:
    """The error that names the near miss among the jobs that there are, else where they are listed."""
    near = get_close_matches(str(name), [one for one in known if one != name], n=1, cutoff=NEAR_NAME)
    mend = f"Did you mean {near[0]!r}?" if near else "Look for its name in 'fastapi-events jobs kinds'."
    return OperationRefused(f"This group has no job {ascii(name)[:80]}. {mend}")


def _states(given: Any) -> Sequence[str]:
    if given is None:
        return _UNSUCCESSFUL[:2]
    if given not in _UNSUCCESSFUL:
        raise OperationRefused(f"state={ascii(given)[:80]}: runs are retried that are {', '.join(_UNSUCCESSFUL)}.")
    return [given]


def _place(given: Any) -> ReplayFrom:
    try:
        return checked_place(given)
    except InvalidInput as error:
        raise OperationRefused(str(error)) from None


def _input_text(job: Job[Any, Any], value: Any) -> str:
    """The input as it is stored: of the job's own type as it is, of anything else by way of JSON."""
    try:
        return job.dump_input(value)
    except InvalidInput:
        try:
            return job.dump_input(job.load_input(json.dumps(value, ensure_ascii=False, allow_nan=False), stored=False))
        except (TypeError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"job {job.name!r}: the input is no JSON value ({error}).") from error


def _check_actor(actor: str) -> None:
    if not actor.strip():
        raise OperationRefused("actor is empty: every action is recorded with who did it. Pass actor='…'.")


def _checked_id(given: UUID | str) -> UUID:
    found = as_uuid(given)
    if found is None:
        raise OperationRefused(
            f"{str(given)[:60]!r} is no run id, which is a UUID such as 0197c0de-0000-7000-8000-000000000000: the id "
            "that observe.runs() shows."
        )
    return found
