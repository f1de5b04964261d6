"""Making one attempt at a run: decode the input, call the job, record its success with its effects."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from fastapi_events.engine.failure import failure
from fastapi_events.engine.handler_session import HandlerSession
from fastapi_events.engine.handler_transaction import FencedTransactions
from fastapi_events.engine.injection import Needs, fill
from fastapi_events.engine.jobs.context import RunningJob
from fastapi_events.engine.jobs.job_run import NO_LANE, JobRun
from fastapi_events.engine.outcomes import Abandoned, cascade_limit, outcome_of, superseded
from fastapi_events.engine.run import Run
from fastapi_events.engine.slots import Slots
from fastapi_events.engine.stored_versions import Unreadable
from fastapi_events.engine.threads import Threads
from fastapi_events.errors import InvalidHandler, InvalidInput
from fastapi_events.model.context import set_bound, set_flow
from fastapi_events.model.outcome import DONE, Outcome
from fastapi_events.store.statements import Statements

COMMITTED = Outcome("done", committed=True)


class Lost(Exception):
    """Another worker has the run."""


class JobExecutor:
    """Makes attempts at runs. ``make_giver`` gives what is injected by type: publishers, and what starts jobs."""

    def __init__(
        self, statements: Statements, *, worker: UUID, transactions: FencedTransactions | None, connections: Slots,
        threads: Threads, givers: frozenset[type[Any]], make_giver: Callable[[Run, type[Any]], Any], cascade_depth: int,
    ) -> None:  # fmt: skip
        self._complete = statements["jobs/complete_own_run"]
        self._worker, self._transactions = worker, transactions
        self._connections, self._threads = connections, threads
        self._givers, self._make_giver, self._cascade_depth = givers, make_giver, cascade_depth

    async def run(self, run: Run) -> Outcome:
        """One attempt, from decoding to commit. Never raises."""
        assert isinstance(run, JobRun)  # noqa: S101 - a pool makes nothing else
        try:
            if run.item.row["depth"] > self._cascade_depth:
                return cascade_limit(self._cascade_depth)
            context = RunningJob(run, _input_of(run))
            set_flow(run.item)
            set_bound(f"job {run.job.id!r}")
            if run.job.simple:
                run.result = run.job.job.dump_result(await run.job.job.make()(context))
                return DONE
            return await self._with_needs(run, context)
        except asyncio.CancelledError as error:
            run.caught(error)
            return Outcome("discarded", note=run.canceled) if run.canceled is not None else outcome_of(run, error)
        except BaseException as error:  # noqa: BLE001 - SystemExit and friends must not end the loop
            run.caught(error)
            return outcome_of(run, error)
        finally:
            run.release()

    async def _with_needs(self, run: JobRun, context: RunningJob) -> Outcome:
        job = run.job
        if not job.is_async:
            run.slots.append(await self._threads.free.take(NO_LANE))
        if job.transactional:
            run.slots.append(await self._connections.take(NO_LANE))
        if job.queues:
            run.start()
        if job.transactional:
            return await self._in_session(run, context)
        run.result = job.job.dump_result(await self._call(run, context))
        return Outcome("done", children=tuple(run.children)) if run.children else DONE

    async def _in_session(self, run: JobRun, context: RunningJob) -> Outcome:
        if self._transactions is None:
            raise InvalidHandler(f"job {run.job.id!r} asks for a session, but none can be made.")
        transaction = run.transaction = await self._transactions.open(session=True)
        run.session = transaction.session
        run.session.sync_session.delivery = (run, self._make_giver)
        problem: BaseException | None = None
        began = asyncio.get_running_loop().time()
        try:
            run.beginning = True
            await transaction.begin_unmarked(run.job.timeout)
            run.beginning = False
            run.result = run.job.job.dump_result(await self._call(run, context))
            _check_alive(run)
            run.settling = True
            duration = asyncio.get_running_loop().time() - began
            given = (run.claim.run_id, run.claim.token, self._worker, run.result, run.attempts, duration)
            if not await transaction.execute(self._complete, *map(str, given), str(run.job.keep_result)):
                raise Lost
            await transaction.commit()
        except Lost as error:
            problem = error
            return superseded()
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
            if job.is_async:
                return await function(context, **arguments)
            value, error = await self._threads.run(functools.partial(function, context, **arguments))
            if error is not None:
                raise error
            return value

    def _values(self, run: JobRun) -> dict[type[Any], Any]:
        wants = run.job.signature.wants
        values: dict[type[Any], Any] = {HandlerSession: run.session} if HandlerSession in wants else {}
        for kind in self._givers & wants:
            values[kind] = self._make_giver(run, kind)
        return values


def _input_of(run: JobRun) -> Any:
    try:
        return run.job.job.load_input(run.item.row["input"])
    except InvalidInput as error:
        raise Unreadable("invalid_payload", failure("InvalidInput", str(error))) from None


def _check_alive(run: Run) -> None:
    if run.abandoned:
        raise Abandoned("the attempt had been given up at its time-out")
