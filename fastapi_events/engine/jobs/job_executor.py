"""Making one attempt at a run: decode the input, call the job, record its success with its effects."""

from __future__ import annotations

import asyncio
import functools
from contextlib import AsyncExitStack
from typing import Any

from fastapi_events.engine.failure import failure
from fastapi_events.engine.handler_session import HandlerSession
from fastapi_events.engine.injection import Needs, fill
from fastapi_events.engine.jobs.context import RunningJob
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.suspension import RunLost, Suspended
from fastapi_events.engine.jobs.tools import JobTools
from fastapi_events.engine.outcomes import Abandoned, cascade_limit, outcome_of, superseded
from fastapi_events.engine.run import Run
from fastapi_events.engine.stored_versions import Unreadable
from fastapi_events.errors import InvalidInput
from fastapi_events.model.context import set_bound, set_flow
from fastapi_events.model.outcome import DONE, Outcome
from fastapi_events.store.run_completion import RunCompletion

COMMITTED = Outcome("done", committed=True)


class JobExecutor:
    """Makes attempts at runs."""

    def __init__(self, completion: RunCompletion, tools: JobTools, *, cascade_depth: int) -> None:
        self._completion, self._tools, self._cascade_depth = completion, tools, cascade_depth

    async def run(self, run: Run) -> Outcome:
        """One attempt, from decoding to commit. Never raises."""
        assert isinstance(run, JobRun)  # noqa: S101 - a pool makes nothing else
        context: RunningJob | None = None
        try:
            if run.item.row["depth"] > self._cascade_depth:
                return cascade_limit(self._cascade_depth)
            context = RunningJob(run, _input_of(run), self._tools)
            set_flow(run.item)
            set_bound(f"job {run.job.id!r}")
            if (logs := self._tools.logs) is not None and logs.captures:
                logs.begin(run)
            if run.job.simple:
                run.called = True
                value = await run.job.job.make()(context)
                check_not_left(context)
                await context.steps.end(cancel=True)
                run.result = run.job.job.dump_result(value)
                return DONE
            return await self._with_needs(run, context)
        except Suspended as left:
            if context is not None:
                await context.steps.end(cancel=False)
            return Outcome("suspended", delay=left.seconds)
        except RunLost:
            if context is not None:
                await context.steps.end(cancel=True)
            return superseded()
        except asyncio.CancelledError as error:
            run.caught(error)
            if context is not None:
                await context.steps.end(cancel=True)
            return Outcome("discarded", note=run.canceled) if run.canceled is not None else outcome_of(run, error)
        except BaseException as error:  # noqa: BLE001 - SystemExit and friends must not end the loop
            run.caught(error)
            if context is not None:
                await context.steps.end(cancel=True)
            return outcome_of(run, error if context is None else context.asked.cause_of(error))
        finally:
            run.release()

    async def _with_needs(self, run: JobRun, context: RunningJob) -> Outcome:
        job = run.job
        if not job.is_async:
            run.slots.append(await self._tools.threads.free.take_for_attempt())
        if job.transactional:
            run.slots.append(await self._tools.connections.take_for_attempt())
        if job.queues:
            run.start()
        if job.transactional:
            return await self._in_session(run, context)
        run.result = job.job.dump_result(await self._call(run, context))
        return Outcome("done", children=tuple(run.children)) if run.children else DONE

    async def _in_session(self, run: JobRun, context: RunningJob) -> Outcome:
        transaction = run.transaction = await self._tools.open_transaction()
        run.session = transaction.session
        run.session.sync_session.delivery = (run, self._tools.make_giver)
        problem: BaseException | None = None
        began = asyncio.get_running_loop().time()
        try:
            run.beginning = True
            await transaction.begin_unmarked(run.job.timeout)
            run.beginning = False
            run.result = run.job.job.dump_result(await self._call(run, context))
            check_alive(run)
            run.settling = True
            duration = asyncio.get_running_loop().time() - began
            if run.lines is not None and self._tools.logs is not None:
                await self._tools.logs.settle([run.lines])  # while the run is this worker's
            if not await self._completion.complete(
                transaction.execute, run.claim, run.result, attempts=run.attempts, duration=duration,
                keep=run.job.keep_result, related=run.has_relatives,
            ):  # fmt: skip
                raise RunLost
            await transaction.commit()
        except BaseException as error:
            problem = error
            raise
        finally:
            run.transaction = None
            await transaction.end(problem)
        return COMMITTED

    async def _call(self, run: JobRun, context: RunningJob) -> Any:
        job = run.job
        async with AsyncExitStack() as stack:
            arguments = await fill(job.signature, Needs(self._values(run), stack))
            function = job.job.make()
            run.called = True
            if job.is_async:
                value = await function(context, **arguments)
            else:
                value, error = await self._tools.threads.run(functools.partial(function, context, **arguments))
                if error is not None:
                    raise error
            check_not_left(context)
            await context.steps.end(cancel=True)
            return value

    def _values(self, run: JobRun) -> dict[type[Any], Any]:
        wants = run.job.signature.wants
        values: dict[type[Any], Any] = {HandlerSession: run.session} if HandlerSession in wants else {}
        for kind in self._tools.givers & wants:
            values[kind] = self._tools.make_giver(run, kind)
        return values


def _input_of(run: JobRun) -> Any:
    try:
        return run.job.job.load_input(run.item.row["input"])
    except InvalidInput as error:
        raise Unreadable("invalid_payload", failure("InvalidInput", str(error))) from None


def check_not_left(context: RunningJob) -> None:
    """Whoever has caught what was to leave the job must not go on as if it had not been left; nor may anybody forget
    to await what the context was asked for."""
    if context.steps.left is not None:
        raise context.steps.left
    context.asked.check()


def check_alive(run: Run) -> None:
    """Raise ``Abandoned`` in an attempt that was given up."""
    if run.abandoned:
        raise Abandoned("the attempt had been given up at its time-out")
