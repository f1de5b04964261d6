"""Middleware around attempts looks on: whatever it does, the attempt is made, and its outcome stands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from fastapi_events.engine.failure import failure_of
from fastapi_events.model.middleware import AttemptContext, AttemptOutcome, Middleware
from fastapi_events.model.onion import AttemptOnion, Chain, Hook, Step, fold

logger = logging.getLogger("fastapi_events")


def attempt_onion(middleware: Iterable[Middleware]) -> AttemptOnion | None:
    """What is around the attempts of a handler."""
    return fold(middleware, "attempt", _proceed, _watching)


async def _proceed(context: AttemptContext) -> AttemptOutcome:
    outcome: AttemptOutcome = await context.proceed(context)
    return outcome


def _watching(
    name: str, hook: Hook, inner: Chain[AttemptContext, AttemptOutcome]
) -> Chain[AttemptContext, AttemptOutcome]:
    """A layer whose errors are logged, and which cannot leave the attempt out."""

    async def layer(context: AttemptContext) -> AttemptOutcome:
        step = Step(name, inner, context)
        try:
            try:
                await hook(context, step)
            except BaseException as error:
                if not step.called and _is_cut_off(error):
                    raise
                if not _is_cut_off(error):
                    _report(name, context, error)
            else:
                if not step.called:
                    _report(name, context, step.misuse("returned without having called call_next"))
            await step.wait()
            return step.result() if step.called else await inner(context)
        finally:
            step.close()

    return layer


def _is_cut_off(error: BaseException) -> bool:
    """Whether the task itself is being ended: by the watch on its time, or with its loop."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _report(name: str, context: AttemptContext, error: BaseException) -> None:
    """With its traceback, which is kept nowhere else."""
    what = failure_of(error)
    logger.error(
        "middleware %s failed around handler %s: %s %s, attempt %d, whose outcome stands: %s: %s\n%s",
        name, context.handler, context.name, context.event_id, context.attempt,
        what.error_type, what.message.split("\n", 1)[0][:300], what.traceback,
    )  # fmt: skip
