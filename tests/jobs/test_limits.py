"""What bounds a job's runs: the options, and the keys that their functions make of an input."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from fastapi_events import Concurrency, Dedupe, Job, JobContext, Module, RateLimit
from fastapi_events.errors import ContradictoryOptions, InvalidInput, UnknownOption
from fastapi_events.model.job import WHOLE_JOB

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        partial(Concurrency, limit=0),
        ContradictoryOptions,
        r"^Concurrency: limit=0 is not a whole number from 1 to 32,767",
    ),
    (partial(Concurrency, limit=True), ContradictoryOptions, r"Concurrency: limit=True is not a whole number"),
    (partial(Concurrency, limit=1 << 15), ContradictoryOptions, r"limit=32768 is not .* Write e.g. limit=5"),
    (
        partial(Concurrency, key="sku"),
        ContradictoryOptions,
        r"^Concurrency: key='sku' is not a function of the job's inp",
    ),
    (
        partial(Concurrency, on_collision="que"),
        ContradictoryOptions,
        r"on_collision='que' is not one of 'queue', 'reject'",
    ),
    (partial(Concurrency, on_collision="que"), ContradictoryOptions, r"'replace'. Did you mean 'queue'\?$"),
    (partial(Concurrency, on_collision=None), ContradictoryOptions, r"on_collision=None is not one of"),
    (
        partial(Concurrency, limits=2),
        UnknownOption,
        r"^Concurrency\(\) has no option 'limits'. Did you mean 'limit'\? The op",
    ),
    (
        partial(Dedupe, key=3),
        ContradictoryOptions,
        r"^Dedupe: key=3 is not a function of the job's input. Write e.g. key=",
    ),
    (partial(Dedupe, window=0), ContradictoryOptions, r"^Dedupe: window=0 is no time at all. Use more than 0"),
    (
        partial(Dedupe, window="1 h"),
        ContradictoryOptions,
        r"window='1 h' is not a number of seconds. Write window=5, or a",
    ),
    (partial(Dedupe, window=timedelta(days=4000)), ContradictoryOptions, r"window=3.456e\+08 is longer than ten years"),
    (partial(Dedupe, until="ended"), ContradictoryOptions, r"until='ended' is not one of 'finished', 'started'"),
    (
        partial(Dedupe, window=5, until="started"),
        ContradictoryOptions,
        r"window= does not go with until='started': both s",
    ),
    (
        partial(Dedupe, windw=5),
        UnknownOption,
        r"^Dedupe\(\) has no option 'windw'. Did you mean 'window'\? The options are key",
    ),
    (partial(RateLimit, 0, 60), ContradictoryOptions, r"^RateLimit: limit=0 is not a whole number from 1 to 1,000,000"),
    (partial(RateLimit, 5, 0), ContradictoryOptions, r"^RateLimit: per=0 is no time at all"),
    (partial(RateLimit, 5, None), ContradictoryOptions, r"^RateLimit: per=None says no time. Write per=1 for a second"),
    (partial(RateLimit, 5, "minute"), ContradictoryOptions, r"per='minute' is not a number of seconds"),
    (partial(RateLimit, 5, 60, "sku"), ContradictoryOptions, r"^RateLimit: key='sku' is not a function"),
    (partial(RateLimit, 5, pre=60), UnknownOption, r"^RateLimit\(\) has no option 'pre'. Did you mean 'per'\?"),
]


@pytest.mark.parametrize(("limit", "kind", "told"), WRONG)
def test_wrong_limits_are_refused(limit: Callable[[], Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        limit()


def test_times_are_kept_in_seconds() -> None:
    assert (Dedupe(window=timedelta(hours=1)).window, RateLimit(5, timedelta(minutes=1)).per) == (3600.0, 60.0)
    assert Dedupe() == Dedupe(key=None, window=None, until="finished")
    assert Concurrency() == Concurrency(key=None, limit=1, on_collision="queue")


class Restock(BaseModel):
    sku: str | None
    places: dict[str, float] = {}


def job_with(**options: Any) -> Job[Restock, None]:
    @Module("shop").job(**options)
    async def restock(job: JobContext[Restock]) -> None: ...

    return restock


LIMITS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "concurrency": lambda key: {"concurrency": Concurrency(key=key)},
    "rate_limit": lambda key: {"rate_limit": RateLimit(1, 1, key)},
    "dedupe": lambda key: {"dedupe": Dedupe(key=key)},
}


def key_of(option: str, job: Job[Restock, None], given: Restock) -> str | None:
    if option == "dedupe":
        return job.dedupe_key(given, job.dump_input(given))
    return job.concurrency_key(given) if option == "concurrency" else job.rate_limit_key(given)


@pytest.mark.parametrize("option", LIMITS)
def test_a_key_is_made_of_the_input(option: str) -> None:
    job = job_with(**LIMITS[option](lambda restock: restock.sku))
    assert key_of(option, job, Restock(sku="A-1")) == "A-1"
    assert key_of(option, job, Restock(sku=None)) is None
    assert key_of(option, job_with(), Restock(sku="A-1")) is None


@pytest.mark.parametrize("option", LIMITS)
@pytest.mark.parametrize(
    ("key", "told"),
    [
        (7, r"^job 'shop.restock': the key of {}= came to 7, which is not a string. Return str\(...\) of it, or None"),
        ("", r"^job 'shop.restock': the {} key is blank, which all that lack one would share. Return None"),
        (" ", r"the {} key is blank"),
        ("x" * 501, r"{} key has 501 characters; 500 are the most"),
        ("a\x00", r"{} key: \$ holds a NUL character"),
        ("\ud800", r"{} key: \$ holds a lone surrogate"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused(option: str, key: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told.format(option)):
        key_of(option, job_with(**LIMITS[option](lambda _: key)), Restock(sku="A-1"))


def test_without_a_key_a_limit_is_that_of_all_runs_and_a_duplicate_one_of_the_same_input() -> None:
    one, other = Restock(sku="a", places={"x": 1, "y": 2}), Restock(sku="b")
    for option in ("concurrency", "rate_limit"):
        job = job_with(**LIMITS[option](None))
        assert [key_of(option, job, given) for given in (one, other)] == [WHOLE_JOB, WHOLE_JOB]
    job = job_with(dedupe=Dedupe())
    same = Restock(sku="a", places={"y": 2, "x": 1})
    keys = [key_of("dedupe", job, given) for given in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]
    assert all(key and len(key) == 64 for key in keys)


def test_a_scope_is_a_type_and_an_id() -> None:
    number = UUID(int=7)
    for given, kept in ((("account", 7), "7"), (("account", number), str(number)), (("account", "é"), "é")):
        assert job_with(scope=lambda _, given=given: given).scope_of(Restock(sku="a")) == ("account", kept)
    assert job_with(scope=lambda _: None).scope_of(Restock(sku="a")) is None
    assert job_with().scope_of(Restock(sku="a")) is None


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        (
            "account",
            r"^job 'shop.restock': scope 'account' is not a pair of a type and an id, such as \('account', acc",
        ),
        (("account",), r"is not a pair of a type and an id"),
        (("account", None), r"is not a pair"),
        (("account", True), r"is not a pair"),
        ((7, 7), r"is not a pair"),
        (["account", 7], r"is not a pair"),
        (("account", ""), r"the scope id is blank, which all that lack one would share. Return None for a run that"),
        ((" ", 7), r"the scope type is blank"),
        (("account", "x\x00"), r"scope id: \$ holds a NUL character"),
    ],
)
def test_a_scope_that_cannot_be_one_is_refused(scope: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        job_with(scope=lambda _: scope).scope_of(Restock(sku="a"))
