"""What runs say is kept with them: in order, bounded, without secrets, whatever becomes of the attempt."""

import asyncio
import json
import logging
from typing import Annotated, Any
from uuid import uuid4

import pytest
from asyncpg import ConnectionDoesNotExistError
from pydantic import BaseModel

from fastapi_events import HandlerSession, JobContext, Module, Retry, Secret, fixed
from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.redaction import Redactor
from fastapi_events.api.run_answers import run_log_answer
from fastapi_events.errors import InvalidFilter
from fastapi_events.store.run_log import RunLogStore
from tests.delivery.stage import Stage, until, within

TAKE_AWAY = "UPDATE events.run_queue SET due_at = '-infinity' WHERE state = 'x'"
logger = logging.getLogger("shop.stock")


async def said(events: Any, run: Any, **given: Any) -> list[str]:
    page = await events.observe.run_logs(run.run, **given)
    return [line.message for line in page.lines]


async def ended(events: Any, run: Any) -> bool:
    return bool((await events.observe.run_logs(run.run)).ended)


async def look(number: int) -> int:
    logger.warning("looking at %d", number)
    return number


def failing() -> Module:
    module = Module("shop")

    @module.job("shop.work", retry=Retry(2, fixed(0)))
    async def work(job: JobContext[int]) -> int:
        job.log.debug("nobody wants this")
        job.log.info("attempt %d", job.attempt, extra={"sku": "A-1", "cents": 250})
        try:
            raise LookupError("no supplier")
        except LookupError:
            job.log.exception("it went wrong")
        if job.attempt == 1:
            raise ValueError("failed")
        return job.input

    return module


async def test_lines_of_every_attempt_are_kept_in_their_order(stage: Stage) -> None:
    module = failing()
    events = await stage.idle(module)
    run = await events.jobs.start(events.registry.jobs["shop.work"], 1)
    await events.drain_once()
    assert await events.jobs.result(run, timeout=1) == 1
    page = await events.observe.run_logs(run.run)
    assert [(line.attempt, line.level, line.message) for line in page.lines] == [
        (1, "info", "attempt 1"), (1, "error", "it went wrong"), (2, "info", "attempt 2"),
        (2, "error", "it went wrong"),
    ]  # fmt: skip
    first, second = page.lines[:2]
    assert json.loads(first.fields) == {"sku": "A-1", "cents": 250}
    assert (first.step, first.logger, first.traceback, second.fields) == (None, None, None, None)
    assert "LookupError: no supplier" in second.traceback
    assert first.number < second.number
    detail = await events.observe.run(run.run)
    assert detail.created_at <= first.at <= page.lines[-1].at <= detail.finished_at
    assert (page.older, page.newest, page.more, page.left_out, page.ended) == (
        None, page.lines[-1].number, False, 0, True,
    )  # fmt: skip


async def test_pages_go_back_and_forth(stage: Stage) -> None:
    module = Module("shop")

    @module.job()
    async def work(job: JobContext[None]) -> None:
        for number in range(7):
            job.log.log(logging.WARNING if number % 3 == 0 else logging.INFO, "%d", number)

    events = await stage.idle(module)
    run = await events.jobs.start(work, None)
    assert (await events.observe.run_logs(run.run)).lines == ()
    assert not await ended(events, run)
    await events.drain_once()
    last = await events.observe.run_logs(run.run, limit=3)
    assert [line.message for line in last.lines] == ["4", "5", "6"]
    middle = await events.observe.run_logs(run.run, before=last.older, limit=3)
    assert [line.message for line in middle.lines] == ["1", "2", "3"]
    first = await events.observe.run_logs(run.run, before=middle.older, limit=3)
    assert ([line.message for line in first.lines], first.older) == (["0"], None)
    forth = await events.observe.run_logs(run.run, after=first.newest, limit=3)
    assert ([line.message for line in forth.lines], forth.more) == (["1", "2", "3"], True)
    forth = await events.observe.run_logs(run.run, after=forth.newest, limit=3)
    assert ([line.message for line in forth.lines], forth.more) == (["4", "5", "6"], False)
    assert (await events.observe.run_logs(run.run, after=forth.newest)).newest == forth.newest
    assert await said(events, run, level="warning") == ["0", "3", "6"]


async def test_what_is_asked_is_checked(stage: Stage) -> None:
    events = await stage.idle(failing())
    run = await events.jobs.start(events.registry.jobs["shop.work"], 1, tenant_id="acme")
    assert await events.observe.run_logs(uuid4()) is None
    assert await events.observe.within("globex").run_logs(run.run) is None
    assert await events.observe.within("acme").run_logs(run.run) is not None
    for wrong, word in (
        ({"level": "warn"}, "Did you mean 'warning'"), ({"limit": 1_001}, "from 1 to 1000"),
        ({"after": -1}, "no number"), ({"before": 1, "after": 2}, "one direction"),
        ({"before": "x"}, "no whole number"),
    ):  # fmt: skip
        with pytest.raises(InvalidFilter, match=word):
            await events.observe.run_logs(run.run, **wrong)


async def test_lines_are_there_while_the_run_goes_on(stage: Stage) -> None:
    module, go_on = Module("shop"), asyncio.Event()

    @module.job()
    async def work(job: JobContext[None]) -> None:
        job.log.info("begun")
        await go_on.wait()
        job.log.info("done")

    events = await stage.running(module)
    run = await events.jobs.start(work, None)

    async def begun() -> bool:
        return await said(events, run) == ["begun"]

    await until(begun)
    go_on.set()
    await within(events.jobs.result(run, timeout=10))
    assert await said(events, run) == ["begun", "done"]


async def test_steps_threads_and_other_loggers(stage: Stage) -> None:
    module = Module("shop")

    @module.job()
    async def work(job: JobContext[int]) -> None:
        logger.warning("before")
        await asyncio.gather(job.step("one", look, 1), job.step("two", look, 2))
        await asyncio.to_thread(logger.error, "in a thread")
        job.log.warning("own")

    @module.job()
    def plain(job: JobContext[None]) -> None:
        job.log.info("in its thread")
        logger.warning("there too")

    events = await stage.idle(module, run_log_capture=True)
    run, other = await events.jobs.start(work, 1), await events.jobs.start(plain, None)
    logger.warning("outside")
    await events.drain_once()
    logger.warning("afterwards")
    page = await events.observe.run_logs(run.run)
    lines = {(line.logger, line.step, line.message) for line in page.lines}
    assert lines == {
        ("shop.stock", None, "before"), ("shop.stock", "one", "looking at 1"), ("shop.stock", "two", "looking at 2"),
        ("shop.stock", None, "in a thread"), (None, None, "own"),
    }  # fmt: skip
    assert await said(events, other) == ["in its thread", "there too"]


async def test_other_loggers_are_not_heard_unless_asked_for(stage: Stage) -> None:
    module = Module("shop")

    @module.job()
    async def work(job: JobContext[int]) -> int:
        return await job.step("one", look, job.input)

    events = await stage.idle(module)
    run = await events.jobs.start(work, 1)
    before = list(logging.getLogger().handlers)
    await events.drain_once()
    assert await said(events, run) == []
    assert logging.getLogger().handlers == before


async def test_captured_by_one_of_two_instances_once(stage: Stage) -> None:
    def module() -> Module:
        shop = Module("shop")

        @shop.job("shop.work")
        async def work(job: JobContext[None]) -> None:
            logger.warning("once")

        return shop

    before = list(logging.getLogger().handlers)
    first = await stage.running(module(), run_log_capture=True)
    second = await stage.running(module(), run_log_capture=True)
    run = await first.jobs.start(first.registry.jobs["shop.work"], None)
    await within(first.jobs.result(run, timeout=10))
    assert await said(first, run) == ["once"]
    await first.stop()
    await second.stop()
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(("level", "kept"), [("debug", 4), ("warning", 2), ("critical", 0), ("off", 0)])
async def test_from_a_level_on(stage: Stage, level: str, kept: int, caplog: pytest.LogCaptureFixture) -> None:
    module = Module("shop")

    @module.job()
    async def work(job: JobContext[None]) -> None:
        for number in (logging.DEBUG, logging.INFO, logging.WARNING, 45):
            job.log.log(number, "level %d", number)

    caplog.set_level(logging.WARNING, "fastapi_events.jobs")
    events = await stage.idle(module, run_log=level, run_log_capture=True)
    run = await events.jobs.start(work, None)
    await events.drain_once()
    assert len(await said(events, run)) == kept
    shown = [record for record in caplog.records if record.name == "fastapi_events.jobs"]
    assert [record.getMessage() for record in shown] == ["level 30", "level 45"]  # the application's own levels
    assert {record.__dict__["run_id"] for record in shown} == {str(run.run)}
    assert {record.funcName for record in shown} == {"work"}


async def test_a_run_that_says_too_much(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=Retry(2, fixed(0)))
    async def work(job: JobContext[None]) -> None:
        for number in range(100):
            job.log.info("%d of attempt %d", number, job.attempt)
        for _ in range(3):
            job.log.error("in attempt %d", job.attempt)
        raise ValueError("failed")

    events = await stage.idle(module, run_log_lines=50)
    run = await events.jobs.start(work, None)
    await events.drain_once()
    page = await events.observe.run_logs(run.run)
    assert [line.message for line in page.lines] == [
        *(f"{number} of attempt 1" for number in range(45)), *["in attempt 1"] * 3, *["in attempt 2"] * 2,
    ]  # fmt: skip
    assert page.left_out == 2 * 103 - 50


async def test_lines_are_bounded_and_never_end_an_attempt(stage: Stage) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no")

    module = Module("shop")

    @module.job()
    async def work(job: JobContext[None]) -> None:
        job.log.info("x" * 100_000, extra={f"n{number}": "y" * 9_000 for number in range(40)})
        job.log.info("%d", "no number")
        job.log.info(Odd())
        job.log.info("nul \x00 and \x1b and \ud800", extra={"huge": 10**400, "nan": float("nan"), "list": [1]})

    logging.getLogger("fastapi_events.jobs").setLevel(logging.ERROR)
    try:
        events = await stage.idle(module)
        run = await events.jobs.start(work, None)
        await events.drain_once()
    finally:
        logging.getLogger("fastapi_events.jobs").setLevel(logging.NOTSET)
    assert (await events.jobs.get(run)).state == "completed"
    long, unfit, odd, hostile = (await events.observe.run_logs(run.run)).lines
    fields = json.loads(long.fields)
    assert len(fields) == 20
    assert max(map(len, fields.values())) <= 500
    assert len(long.message) <= 4_000
    assert "characters cut" in long.message
    assert "no number" in unfit.message
    assert "Odd" in odd.message
    assert hostile.message == "nul \\x00 and \\x1b and \\ud800"
    assert json.loads(hostile.fields)["list"] == "[1]"


class Payment(BaseModel):
    """With what nobody is shown."""

    iban: Annotated[str, Secret] = "DE89370400440532013000"


async def test_secrets_of_the_input_are_in_no_line(stage: Stage) -> None:
    module = Module("shop")

    @module.job()
    async def pay(job: JobContext[Payment]) -> None:
        iban = job.input.iban
        job.log.info("paying to %s", iban, extra={"to": iban, "password": "hunter22"})
        for before in range(1_900, 2_000, 3):
            job.log.info("%s%s", "x" * before, iban + "y" * 8_000)  # wherever it is cut
        try:
            raise ValueError(iban)
        except ValueError:
            job.log.exception("no")

    events = await stage.idle(module)
    run = await events.jobs.start(pay, Payment())
    await events.drain_once()
    rows = await stage.rows("SELECT * FROM events.run_log")
    assert len(rows) > 30
    for row in rows:
        assert "DE8" not in str(dict(row))
        assert "3000" not in str(row["message"]).replace("3,000", "")
        assert "hunter" not in str(dict(row))
    page = await events.observe.run_logs(run.run)
    assert page.lines[0].message == "paying to ••••••"
    blind = run_log_answer(page, Redactor(), Actor("ana", permissions=frozenset({Permission.view})))
    assert (blind.lines[0].fields, blind.lines[0].message) == (None, "paying to ••••••")


async def test_lines_of_a_transaction_that_is_rolled_back_stay(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=Retry(2, fixed(0)))
    async def work(job: JobContext[None], session: HandlerSession) -> None:
        job.log.info("attempt %d", job.attempt)
        if job.attempt == 1:
            raise ValueError("failed")

    events = await stage.idle(module)
    run = await events.jobs.start(work, None)
    await events.drain_once()
    assert (await events.jobs.get(run)).state == "completed"
    assert await said(events, run) == ["attempt 1", "attempt 2"]


async def test_lines_of_an_attempt_that_was_cut_off_at_its_time_out(stage: Stage) -> None:
    module, late = Module("shop"), asyncio.Event()

    @module.job(timeout=0.2, retry=Retry(1))
    async def work(job: JobContext[None]) -> None:
        job.log.info("in time")
        try:
            await asyncio.sleep(60)
        finally:
            job.log.info("too late")
            late.set()

    events = await stage.running(module)
    run = await events.jobs.start(work, None)
    await within(late.wait())
    await until(lambda: ended(events, run))
    assert (await said(events, run))[0] == "in time"


async def test_who_has_lost_a_run_says_nothing_more(stage: Stage) -> None:
    calls: list[asyncio.Event] = []

    def module() -> Module:
        shop = Module("shop")

        @shop.job("shop.work")
        async def work(job: JobContext[None]) -> int:
            mine = len(calls)
            calls.append(asyncio.Event())
            await calls[mine].wait()
            job.log.info("call %d", mine)
            return mine

        return shop

    first = await stage.running(module(), heartbeat=2.0)
    run = await first.jobs.start(first.registry.jobs["shop.work"], None)
    await until(lambda: len(calls) == 1)
    second = await stage.running(module(), heartbeat=2.0)
    await stage.rows(TAKE_AWAY)
    first.runtime.wake.runs.due.set()
    await until(lambda: len(calls) == 2)
    calls[0].set()
    await until(lambda: first.runtime.counters.stale_settles + second.runtime.counters.stale_settles == 1)
    calls[1].set()
    assert await within(second.jobs.result(run, timeout=10)) == 1
    assert await said(second, run) == ["call 1"]


async def test_a_statement_for_many_lines_and_none_for_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    keep = RunLogStore.keep

    async def counted(self: RunLogStore, what: Any) -> Any:
        kept.append(sum(len(one.lines) for one in what))
        return await keep(self, what)

    monkeypatch.setattr(RunLogStore, "keep", counted)
    module = Module("shop")

    @module.job()
    async def work(job: JobContext[int]) -> None:
        for number in range(job.input):
            job.log.info("%d", number)

    events = await stage.idle(module)
    await events.jobs.start(work, 0)
    await events.drain_once()
    assert kept == []
    await events.jobs.start_many(work, [30] * 10)
    await events.drain_once()
    assert sum(kept) == 300
    assert len(kept) <= 4


async def test_what_cannot_be_kept_is_kept_later(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, failures = RunLogStore.keep, [ConnectionDoesNotExistError("gone"), ConnectionDoesNotExistError("gone")]

    async def failing_keep(self: RunLogStore, what: Any) -> Any:
        if failures:
            raise failures.pop()
        return await keep(self, what)

    monkeypatch.setattr(RunLogStore, "keep", failing_keep)
    module = Module("shop")

    @module.job()
    async def work(job: JobContext[None]) -> None:
        job.log.info("kept")

    events = await stage.running(module)
    run = await events.jobs.start(work, None)
    await within(events.jobs.result(run, timeout=10))
    assert await said(events, run) == ["kept"]
    assert not failures


async def test_no_run_waits_for_its_log(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: RunLogStore, what: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(RunLogStore, "keep", broken)
    module = Module("shop")

    @module.job()
    async def work(job: JobContext[None]) -> None:
        job.log.info("lost")

    @module.job()
    async def careful(job: JobContext[None], session: HandlerSession) -> None:
        job.log.info("lost too")

    events = await stage.running(module)
    for job in (work, careful):
        run = await events.jobs.start(job, None)
        await within(events.jobs.result(run, timeout=10))
        assert await said(events, run) == []
