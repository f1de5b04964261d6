"""Wrong declarations of jobs fail where they are written, naming the job, the rule and the mend."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pytest
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

import fastapi_events
from fastapi_events import Event, Events, Job, JobContext, Module, Retry, Trigger
from fastapi_events.errors import (
    AuditEventTriggerError,
    ContradictoryOptions,
    DeclarationError,
    DuplicateJob,
    DuplicateTrigger,
    InvalidJob,
    JobError,
    MissingUpcaster,
    ReservedPoolViolationError,
    UnknownOption,
)
from fastapi_events.model.registry import Registry

if TYPE_CHECKING:

    class Unimported: ...


T = TypeVar("T")


class Restock(BaseModel):
    sku: str


class Ordered(BaseModel):
    number: int


class StockLow(Event, name="inventory.stock.low"):
    sku: str


class StockGone(Event, name="inventory.stock.gone"):
    sku: str


class Recounted(Event, name="inventory.stock.recounted", version=3):
    sku: str


class Looked(Event, name="inventory.stock.looked", tier="audit"):
    sku: str


class Stock(Event):
    sku: str


def made(event: Any) -> Restock:
    return Restock(sku=event.sku)


async def async_made(event: Any) -> Restock:
    return Restock(sku=event.sku)


def declared(*arguments: Any, **options: Any) -> Job[Restock, Ordered]:
    @Module("shop").job(*arguments, **options)
    async def restock(job: JobContext[Restock]) -> Ordered:
        return Ordered(number=len(job.input.sku))

    return restock


WRONG_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": "a b"}, InvalidJob, r"job name 'a b': a name is 1 to 200 letters.*@module.job\('inventory.restock'\)"),
    ({"name": ""}, InvalidJob, r"job name '': a name is"),
    ({"name": 3}, InvalidJob, r"job name 3: a name is"),
    ({"name": "x" * 201}, InvalidJob, r"job name 'xxx.*: a name is 1 to 200"),
    (
        {"retries": 3},
        UnknownOption,
        r"module 'shop': job\(\) has no option 'retries'. Did you mean 'retry'\?.* are name",
    ),
    ({"colour": 3}, UnknownOption, r"has no option 'colour'. The options are name, pool, retry"),
    ({"pool": "Batch"}, InvalidJob, r"'shop.restock': pool='Batch' is no name of a pool: lower-case.*pool='batch'"),
    ({"pool": None}, InvalidJob, r"pool=None is no name of a pool"),
    ({"pool": "x" * 64}, InvalidJob, r"63 at most"),
    (
        {"pool": "events_change"},
        ReservedPoolViolationError,
        r"'shop.restock': pool='events_change' is reserved for.*own",
    ),
    ({"pool": "events_mine"}, ReservedPoolViolationError, r"pool='events_mine' is reserved"),
    ({"pool": "events"}, ReservedPoolViolationError, r"pool='events' is reserved"),
    ({"pool": "inbound"}, ReservedPoolViolationError, r"pool='inbound' is reserved"),
    ({"retry": 5}, ContradictoryOptions, r"'shop.restock': retry=5 is not a policy. Write retry=Retry\(max_attempts=5"),
    ({"timeout": 0}, ContradictoryOptions, r"'shop.restock': timeout=0 leaves no time to run. Use more than 0"),
    ({"timeout": "5"}, ContradictoryOptions, r"timeout='5' is not a number of seconds. Write timeout=5"),
    ({"timeout": float("nan")}, ContradictoryOptions, r"timeout=nan leaves no time"),
    ({"timeout": timedelta(days=9999)}, ContradictoryOptions, r"is longer than ten years"),
    ({"keep_result": -1}, ContradictoryOptions, r"keep_result=-1 leaves no time to read the result"),
    ({"keep_result": True}, ContradictoryOptions, r"keep_result=True is not a number of seconds"),
    (
        {"priority": 32768},
        ContradictoryOptions,
        r"priority=32768 is not a whole number from -32,767 to 32,767. The higher",
    ),
    ({"priority": "high"}, ContradictoryOptions, r"priority='high' is not a whole number"),
    ({"priority": True}, ContradictoryOptions, r"priority=True is not"),
    (
        {"replay_from": "last-step"},
        ContradictoryOptions,
        r"replay_from='last-step' is not one of 'scratch', 'last_step'",
    ),
    ({"replay_from": "last-step"}, ContradictoryOptions, r"Did you mean 'last_step'\?"),
    ({"replay_from": None}, ContradictoryOptions, r"replay_from=None is not one of"),
    ({"scope": ("sku", 1)}, ContradictoryOptions, r"scope=\('sku', 1\) is not a function of the input.*jobs.start\("),
    (
        {"concurrency": 1},
        ContradictoryOptions,
        r"concurrency=1 is no Concurrency object. Write concurrency=Concurrency",
    ),
    (
        {"dedupe": fastapi_events.Dedupe},
        ContradictoryOptions,
        r"dedupe=the class Dedupe is no Dedupe object. Write dedupe=Dedupe\(key=",
    ),
    (
        {"rate_limit": 7},
        ContradictoryOptions,
        r"rate_limit=7 is no RateLimit object. Write rate_limit=RateLimit\(100, p",
    ),
    (
        {"was": "shop.refill"},
        ContradictoryOptions,
        r"was='shop.refill' is not a list of names. Write was=\['old.name'\]",
    ),
    ({"was": ["ö"]}, InvalidJob, r"job name '\\xf6': a name is"),
    ({"was": ["shop.restock"]}, ContradictoryOptions, r"was= has the name that the job has now. Leave it out"),
    ({"triggers": Trigger(StockLow, map=made)}, InvalidJob, r"triggers= takes a list, not .*triggers=\[Trigger\(Order"),
    ({"triggers": [StockLow]}, InvalidJob, r"'shop.restock': triggers=\[<class .*StockLow'>\] is not a trigger. Write"),
    (
        {"triggers": [Trigger(StockLow, map=made), Trigger(StockLow, map=made)]},
        DuplicateTrigger,
        r"two triggers have the id 'shop.restock.inventory.stock.low' \(on StockLow and StockLow\).*id= of its own",
    ),
    (
        {"triggers": [Trigger(StockLow, map=made, id="a"), Trigger(StockGone, map=made, id="a")]},
        DuplicateTrigger,
        r"have the id 'a' \(on StockLow and StockGone\)",
    ),
    (
        {"name": "x" * 200, "triggers": [Trigger(StockLow, map=made)]},
        InvalidJob,
        r"the id of its trigger on StockLow, .* is longer than 200 signs. Give it a shorter one",
    ),
]


@pytest.mark.parametrize(("options", "kind", "told"), WRONG_OPTIONS)
def test_wrong_options_are_refused(options: dict[str, Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        declared(**options)


WRONG_TRIGGERS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (partial(Trigger, "a.b.c", map=made), InvalidJob, r"Trigger\('a.b.c'\): a trigger takes an Event class. Write Tr"),
    (partial(Trigger, Restock, map=made), InvalidJob, r"Trigger\(<class .*Restock'>\): a trigger takes an Event class"),
    (partial(Trigger, Stock, map=made), InvalidJob, r"Trigger\(Stock\): Stock is abstract and never published"),
    (partial(Trigger, Looked, map=made), AuditEventTriggerError, r"Trigger\(Looked\): Looked is an audit event"),
    (
        partial(Trigger, StockLow, map="sku"),
        ContradictoryOptions,
        r"Trigger\(StockLow\): map='sku' is not a function of",
    ),
    (partial(Trigger, StockLow, map=async_made), ContradictoryOptions, r"map= is async.*write a plain function"),
    (
        partial(Trigger, StockLow, map=made, when=True),
        ContradictoryOptions,
        r"when=True is not a function of the event",
    ),
    (partial(Trigger, StockLow, map=made, when=async_made), ContradictoryOptions, r"when= is async"),
    (
        partial(Trigger, StockLow, map=made, id="a b"),
        ContradictoryOptions,
        r"Trigger\(StockLow\): id='a b': an id is 1 to",
    ),
    (partial(Trigger, StockLow, map=made, id=""), ContradictoryOptions, r"id='': an id is 1 to"),
    (
        partial(Trigger, StockLow, maps=made),
        UnknownOption,
        r"Trigger\(\) has no option 'maps'. Did you mean 'map'\? The op",
    ),
]


@pytest.mark.parametrize(("trigger", "kind", "told"), WRONG_TRIGGERS)
def test_wrong_triggers_are_refused(trigger: Callable[[], Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        trigger()


async def bare(job: JobContext) -> None: ...
async def of_a_variable(job: JobContext[T]) -> None: ...
async def without_annotation(job) -> None: ...
async def without_parameters() -> None: ...
async def by_keyword(*, job: JobContext[Restock]) -> None: ...
async def of_the_input(job: Restock) -> None: ...
async def of_a_session(job: JobContext[AsyncSession]) -> None: ...
async def to_a_session(job: JobContext[Restock]) -> AsyncSession: ...
async def unreadable(job: "JobContext[1 / 0]") -> None: ...


async def yielding(job: JobContext[Restock]) -> AsyncIterator[int]:
    yield 1


class WithoutRun:
    async def go(self, job: JobContext[Restock]) -> None: ...


class StaticRun:
    @staticmethod
    async def run(job: JobContext[Restock]) -> None: ...


class Needy:
    def __init__(self, url: str) -> None: ...

    async def run(self, job: JobContext[Restock]) -> None: ...


class WithoutJob:
    async def run(self) -> None: ...


WRONG_FUNCTIONS: list[tuple[Any, str]] = [
    (
        bare,
        r"job 'shop.bare' \(.*test_declarations.py:\d+\): its first parameter, 'job', does not say what the input is",
    ),
    (
        of_a_variable,
        r"does not say what the input is. Write job: JobContext\[Restock\]; without input, JobContext\[None",
    ),
    (without_annotation, r"'job', has no annotation, which says what.* Write async def without_annotation\(job: JobC"),
    (
        without_parameters,
        r"a job's first parameter is its context. Write async def without_parameters\(job: JobContext",
    ),
    (by_keyword, r"a job's first parameter is its context"),
    (
        of_the_input,
        r"'job', is annotated Restock, but is given the context, which has the input. Write async def of_the",
    ),
    (
        of_a_session,
        r"its input \(AsyncSession\) cannot be stored as JSON \(.*\). Write a Pydantic model.*JobContext\[Re",
    ),
    (to_a_session, r"its result \(AsyncSession\) cannot be stored as JSON \(.*\). Write .* -> RestockResult"),
    (unreadable, r"its annotations cannot be read \(ZeroDivisionError: division by zero\). Mend them"),
    (yielding, r"has a yield, and so would never run. A job returns its result"),
    (WithoutRun, r"the class WithoutRun has no method run. Write async def run\(self, job: JobContext\[Restock\]\)"),
    (StaticRun, r"the class StaticRun has no method run"),
    (
        Needy,
        r"the class Needy cannot be made without arguments \(missing a required argument: 'url'\).* ask for them in ru",
    ),
    (WithoutJob, r"a job's first parameter is its context. Write async def run\(self, job: JobContext\[Restock\]"),
    (7, r"job 'shop.int' \(7\): 7 is not a function that can be run"),
    (lambda job: None, r"job name 'shop.<lambda>': a name is"),
]


@pytest.mark.parametrize(("function", "told"), WRONG_FUNCTIONS)
def test_what_cannot_be_run_is_refused(function: Any, told: str) -> None:
    with pytest.raises(InvalidJob, match=told):
        Module("shop").job()(function)


def test_an_abstract_class_is_refused() -> None:
    from abc import ABC, abstractmethod

    class Abstract(ABC):
        @abstractmethod
        async def run(self, job: JobContext[Restock]) -> None: ...

    with pytest.raises(InvalidJob, match=r"the class .*Abstract is abstract \(run\): no object of it can be made"):
        Module("shop").job()(Abstract)


def test_a_decorator_without_brackets_is_refused() -> None:
    decorate: Any = Module("shop").job
    with pytest.raises(
        InvalidJob, match=r"job\(\) was given a function, .*py:\d+, in place of a name.*@module.job\(\)"
    ):
        decorate(of_the_input)


def test_a_job_is_no_function_to_declare_again() -> None:
    job: Any = declared()
    with pytest.raises(InvalidJob, match=r"it is a job already. Declare the function itself again, with a name"):
        Module("shop").job("shop.again")(job)


def test_a_job_is_not_called() -> None:
    job: Any = declared("inventory.restock")
    told = (
        r"job 'inventory.restock' is not called but started: run = await jobs.start\(restock, ...\).*restock.function"
    )
    with pytest.raises(JobError, match=told):
        job(Restock(sku="a"))


def test_what_a_declaration_keeps() -> None:
    inventory = Module("inventory")

    @inventory.job(
        pool="interactive",
        retry=Retry(5),
        timeout=timedelta(minutes=1),
        scope=lambda restock: ("sku", restock.sku),
        concurrency=fastapi_events.Concurrency(limit=2),
        dedupe=fastapi_events.Dedupe(window=60),
        rate_limit=fastapi_events.RateLimit(5, per=1),
        priority=-3,
        triggers=[Trigger(StockLow, map=lambda e: Restock(sku=e.sku))],
        replay_from="scratch",
        keep_result=60,
        was=["inventory.refill"],
    )
    async def restock(job: Annotated[JobContext[Restock], "the context"]) -> Ordered:
        return Ordered(number=job.attempt)

    assert inventory.declared_jobs == [restock]
    assert (restock.name, restock.module, restock.pool) == ("inventory.restock", "inventory", "interactive")
    assert (restock.retry, restock.timeout, restock.keep_result) == (Retry(5), 60.0, 60.0)
    assert (restock.priority, restock.replay_from, restock.was) == (-3, "scratch", ("inventory.refill",))
    assert (restock.input_type, restock.output_type) == (Restock, Ordered)
    assert [trigger.id_for(restock.name) for trigger in restock.triggers] == ["inventory.restock.inventory.stock.low"]
    assert restock.is_async
    assert restock.make() is restock.function
    assert restock.where.startswith(__file__)
    assert repr(restock) == "<Job 'inventory.restock'>"
    assert restock.input_adapter is restock.input_adapter


def test_defaults() -> None:
    job = declared()
    assert (job.name, job.pool, job.priority, job.replay_from) == ("shop.restock", "batch", 0, "last_checkpoint")
    given = (job.retry, job.timeout, job.scope, job.concurrency, job.dedupe, job.rate_limit, job.keep_result)
    assert set(given) == {None}
    assert (job.triggers, job.was) == ((), ())


def test_a_class_is_made_anew_for_each_attempt() -> None:
    class Restocking:
        def __init__(self, depth: int = 3) -> None:
            self.depth = depth

        async def run(self, job: JobContext[None], session: AsyncSession) -> bool:
            return bool(session)

    job: Job[Any, Any] = Module("shop").job()(Restocking)
    first, second = job.make(), job.make()
    assert isinstance(first, Callable)
    assert first.__self__ is not second.__self__
    assert (job.name, job.input_type, job.output_type) == ("shop.Restocking", type(None), bool)
    assert job.is_async
    assert __file__ in job.where


def test_plain_functions_and_callables() -> None:
    def plain(job: JobContext[int]): ...

    def awaiting(job: JobContext[int]) -> Awaitable[str]: ...

    class Called:
        async def __call__(self, job: JobContext[int]) -> str:
            return str(job.input)

    shop = Module("shop")
    jobs: list[Job[Any, Any]] = [shop.job()(plain), shop.job()(awaiting), shop.job()(Called())]
    assert [(job.is_async, job.output_type) for job in jobs] == [(False, Any), (False, str), (True, str)]
    assert jobs[2].name == "shop.Called"


def test_the_registry_knows_jobs_and_the_events_of_their_triggers() -> None:
    shop = Module("shop")

    @shop.job("shop.restock", triggers=[Trigger(StockLow, map=made)])
    async def restock(job: JobContext[Restock]) -> None: ...

    registry = Registry([shop, shop])
    assert registry.jobs == {"shop.restock": restock}
    assert registry.class_of("inventory.stock.low", 1) is StockLow
    assert Events(modules=[shop]).registry.jobs == {"shop.restock": restock}


async def one(job: JobContext[Restock]) -> None: ...
async def two(job: JobContext[Restock]) -> None: ...
async def on_low(event: StockLow) -> None: ...


def test_a_name_is_that_of_one_job() -> None:
    shop, store = Module("shop"), Module("store")
    first, second = shop.job("restock")(one), store.job("restock")(two)
    with pytest.raises(DuplicateJob, match=rf"Two jobs have the name 'restock': {first.where} and {second.where}. Re"):
        Registry([shop, store])


@pytest.mark.parametrize(("was", "others"), [(["b"], []), (["old"], ["old"])])
def test_a_former_name_is_that_of_one_job(was: list[str], others: list[str]) -> None:
    shop = Module("shop")
    shop.job("a", was=was)(one)
    shop.job("b", was=others)(two)
    with pytest.raises(
        DuplicateJob, match=r"job '[ab]' \(.*\) says that it was .* so does or is job '[ab]'.*out of was="
    ):
        Registry([shop])


def test_a_triggers_id_is_that_of_nothing_else() -> None:
    shop = Module("shop")
    shop.on(StockLow, id="low")(on_low)
    shop.job("a", triggers=[Trigger(StockLow, map=made, id="low")])(one)
    with pytest.raises(DuplicateTrigger, match=r"The id 'low' is that of a trigger of job 'a' .* and of handler 'low'"):
        Registry([shop])

    store = Module("store")
    store.job("a", triggers=[Trigger(StockLow, map=made, id="low")])(one)
    store.job("b", triggers=[Trigger(StockGone, map=made, id="low")])(two)
    with pytest.raises(
        DuplicateTrigger, match=r"trigger of job 'b' .* and of a trigger of job 'a' .*\. Give one of them"
    ):
        Registry([store])


def test_a_trigger_needs_the_upcasters_of_its_event() -> None:
    shop = Module("shop")
    shop.job("a", triggers=[Trigger(Recounted, map=made)])(one)
    with pytest.raises(
        MissingUpcaster, match=r"a trigger of job 'a' .* takes version 3 of 'inventory.stock.recounted'"
    ):
        Registry([shop]).check_upcasters()


def test_a_name_may_be_defined_after_the_job_but_not_never() -> None:
    shop = Module("shop")

    async def early(job: "JobContext[Later]") -> "Late": ...

    async def never(job: "JobContext[Unimported]") -> None: ...

    job: Job[Any, Any] = shop.job()(early)
    assert Registry([shop]).jobs["shop.early"].input_type is Later
    assert job.output_type is Late
    shop.job()(never)
    told = r"job 'shop.never' \(.*\): an annotation cannot be resolved \(name 'Unimported' is not defined\). Import the"
    with pytest.raises(InvalidJob, match=told):
        Registry([shop])


def test_a_job_of_a_model_that_names_what_is_never_defined_is_refused() -> None:
    class Broken(BaseModel):
        field: "Missing"  # noqa: F821

    async def broken(job: JobContext[Broken]) -> None: ...

    shop = Module("shop")
    shop.job()(broken)
    with pytest.raises(
        InvalidJob, match=r"job 'shop.broken' .*annotation cannot be resolved \([^\n]*Missing[^\n]*\). Import"
    ):
        Registry([shop])


def test_a_started_instance_takes_no_more_jobs() -> None:
    shop = Module("shop")
    with (
        shop.read_by_a_running_instance(),
        pytest.raises(DeclarationError, match=r"job 'shop.one' \(.*\) is declared aft"),
    ):
        shop.job()(one)
    assert shop.declared_jobs == []
    shop.job()(one)


class Later(BaseModel):
    sku: str


class Late(BaseModel):
    sku: str
