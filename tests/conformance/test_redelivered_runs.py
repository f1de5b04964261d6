"""A job is told of what may be done again, until its run ends, on both back ends."""

from typing import Any

import asyncpg
import pytest

from fastapi_events import JobContext, Module, Retry, RetryLater, fixed
from tests.conformance.backends import Backend


class Attempts:
    """A job of which each attempt does what comes next, and notes what it was told."""

    def __init__(self, *turns: Any) -> None:
        self.told, self.left, self.module = list[tuple[int, bool]](), list(turns), Module("shop")

        @self.module.job(retry=Retry(9, fixed(60, jitter=False)))
        async def pay(job: JobContext[None]) -> int:
            self.told.append((job.attempt, job.redelivered))
            turn = self.left.pop(0)
            if turn == "sleep":
                await job.sleep(60)
            elif turn == "step":
                return await job.step("charge", self.charge)
            elif turn == "swallow":
                try:
                    await job.step("charge", self.fail)
                except ValueError:
                    await job.sleep(60)
            elif turn == "retried":
                await job.step("ask", self.fail, retry=Retry(2, fixed(60, jitter=False)))
            elif turn == "later":
                await job.step("charge", self.put_off)
            elif turn is not None:
                raise turn
            return 5

        self.pay = pay

    async def charge(self) -> int:
        return 5

    async def fail(self) -> int:
        raise ValueError("no answer")

    async def put_off(self) -> int:
        raise RetryLater(1)

    async def made(self, backend: Backend) -> list[tuple[int, bool]]:
        events = await backend.idle(self.module)
        started = await events.jobs.start(self.pay, None)
        for _ in list(self.left):
            await events.drain_once()
            await backend.later(61)
        view = await events.jobs.get(started)
        if view.state == "failed":
            self.left.append(None)
            assert await events.jobs.retry(started)
            await events.drain_once()
        return self.told


LOST, FAILED, LATER = asyncpg.ConnectionDoesNotExistError("gone"), ValueError("no money"), RetryLater(1)
FALSE, TRUE = (1, False), (1, True)


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ((LATER, "sleep", LATER, None), [FALSE] * 4),
        (("retried", None), [FALSE] * 2),
        ((LOST, None), [FALSE, TRUE]),
        ((LOST, LATER, "sleep", FAILED, None), [FALSE, TRUE, TRUE, TRUE, (2, True)]),
        ((FAILED, FAILED, None), [FALSE, (2, False), (3, False)]),
        (("swallow", "step"), [FALSE, TRUE]),
        (("later", "sleep", "step"), [FALSE, TRUE, TRUE]),
    ],
)
async def test_what_may_be_done_again_is_told_of(
    backend: Backend, turns: tuple[Any, ...], told: list[tuple[int, bool]]
) -> None:
    assert await Attempts(*turns).made(backend) == told


async def test_a_run_that_is_begun_anew_is_told_so(backend: Backend) -> None:
    assert await Attempts(*[FAILED] * 9).made(backend) == [(number, False) for number in range(1, 10)] + [TRUE]
