"""Inputs and results are stored as JSON that their types can be read back from, or refused with the place."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, PositiveInt
from typing_extensions import TypedDict

from fastapi_events import Job, JobContext, Module, Secret
from fastapi_events.errors import InvalidInput, InvalidResult


class Restock(BaseModel):
    sku: str
    weight: float = 1.0
    extra: Any = None
    number: int = Field(default=0, alias="no")


class Other(BaseModel):
    sku: str


class Sub(Restock):
    note: str = "left out"


@dataclass
class Counted:
    on: date
    pieces: PositiveInt
    price: Decimal = Decimal("0.10")


class Line(TypedDict):
    sku: str


def job_of(input_type: Any, output_type: Any = None) -> Job[Any, Any]:
    async def work(job: Any) -> Any: ...

    work.__annotations__ = {"job": JobContext[input_type], "return": output_type}
    return Module("shop").job()(work)


ROUND_TRIPS: list[tuple[Any, Any, str]] = [
    (Restock, Restock(sku="ö", no=3), '{"sku":"ö","weight":1.0,"extra":null,"no":3}'),
    (Counted, Counted(date(2026, 1, 2), 3), '{"on":"2026-01-02","pieces":3,"price":"0.10"}'),
    (None, None, "null"),
    (int, 7, "7"),
    (UUID, UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    (list[Line], [{"sku": "a"}], '[{"sku":"a"}]'),
    (Restock | Other, Other(sku="a"), '{"sku":"a"}'),
    (dict[str, Any], {"a": [1, None]}, '{"a":[1,null]}'),
    (str | None, None, "null"),
]


@pytest.mark.parametrize(("kind", "value", "text"), ROUND_TRIPS)
def test_inputs_and_results_come_back(kind: Any, value: Any, text: str) -> None:
    job = job_of(kind, kind)
    assert job.dump_input(value) == job.dump_result(value) == text
    if kind != Restock | Other:  # as Pydantic reads unions: the first class that fits
        assert job.load_input(text) == job.load_result(text.encode()) == value


def test_of_an_object_of_a_subclass_only_what_the_job_takes_is_kept() -> None:
    assert "note" not in job_of(Restock).dump_input(Sub(sku="a"))


deep: list[Any] = []
for _ in range(70):
    deep = [deep]

WRONG: list[tuple[Any, Any, str, str]] = [
    (Restock, Restock(sku="a\x00b"), r"\$.sku holds a NUL character", "$.sku"),
    (Restock, Restock(sku="\ud800"), r"\$.sku holds a lone surrogate", "$.sku"),
    (Restock, Restock(sku="a", weight=float("nan")), r"\$.weight is nan, which JSON does not have", "$.weight"),
    (Restock, Restock(sku="a", extra={"k": [float("inf")]}), r"\$.extra.k\[0\] is inf", "$.extra.k[0]"),
    (Restock, Restock(sku="a", extra=deep), r"is nested deeper than 64 levels", "$.extra" + "[0]" * 64),
    (Restock, Restock(sku="a", extra=object()), r"cannot be written as JSON: Unable to serialize unknown type", "$"),
    (Restock, Restock.model_construct(weight=1.0), r"\$.sku: Field required \(1 problem", "$.sku"),
    (Restock, Restock(sku="a", extra=10**13000), r"\$.extra is an integer of more than", "$.extra"),
    (Counted, Counted(date(2026, 1, 2), -3), r"\$.pieces: Input should be greater than 0", "$.pieces"),
    (int, "many", r"\$: Input should be a valid integer", "$"),
    (float, float("nan"), r"\$ is nan, which JSON does not have", "$"),
    (list[Line], [{"skew": "a"}], r"\$\[0\].sku: Field required", "$[0].sku"),
]


@pytest.mark.parametrize(("kind", "value", "told", "path"), WRONG)
def test_what_cannot_be_stored_is_refused_with_its_place(kind: Any, value: Any, told: str, path: str) -> None:
    job = job_of(kind, kind)
    with pytest.raises(InvalidInput, match=rf"^job 'shop.work': (the )?input:?.*{told}") as wrong:
        job.dump_input(value)
    assert wrong.value.path == path
    with pytest.raises(InvalidResult, match=rf"^job 'shop.work': (the )?result:?.*{told}") as bad:
        job.dump_result(value)
    assert bad.value.path == path


def test_what_is_too_large_is_refused() -> None:
    job = job_of(Restock, Restock)
    told = r"the {} has 1,\d\d\d bytes; max_payload_size is 1,000. Store large content elsewhere and pass a reference"
    dumps: list[tuple[Callable[..., str], type[Exception], str]] = [
        (job.dump_input, InvalidInput, "input"),
        (job.dump_result, InvalidResult, "result"),
    ]
    for dump, kind, what in dumps:
        with pytest.raises(kind, match=told.format(what)):
            dump(Restock(sku="x" * 1000), max_size=1000)
        assert dump(Restock(sku="x"), max_size=1000)


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (
            Restock,
            Other(sku="a"),
            r"^job 'shop.work' takes Restock, and was given an object of Other. Pass Restock\(...\)",
        ),
        (Restock, {"sku": "a"}, r"takes Restock, and was given an object of dict"),
        (Restock, None, r"takes Restock, and was given None"),
        (Counted, Restock(sku="a"), r"takes Counted, and was given an object of Restock"),
        (
            None,
            Restock(sku="a"),
            r"^job 'shop.work' takes no input, and was given an object of Restock. Start it without",
        ),
    ],
)
def test_an_input_of_another_class_is_refused(kind: Any, value: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        job_of(kind).dump_input(value)


def test_a_result_may_be_what_its_class_is_made_of() -> None:
    assert job_of(None, Other).dump_result({"sku": "a"}) == '{"sku":"a"}'


def test_what_is_stored_and_fits_no_more_is_told_with_its_place() -> None:
    job = job_of(Restock, int)
    told = (
        r"^job 'shop.work': the stored input is not what the job takes or gives now: \$.sku: Field required.* default"
    )
    with pytest.raises(InvalidInput, match=told) as wrong:
        job.load_input('{"skew": 1}')
    assert wrong.value.path == "$.sku"
    with pytest.raises(InvalidResult, match=r"the stored result is not .*: \$: Input should be a valid integer"):
        job.load_result('"many"')
    with pytest.raises(InvalidInput, match=r"the stored input is not .*: \$: Invalid JSON"):
        job.load_input("{")


def test_errors_quote_no_secret() -> None:
    class Paid(BaseModel):
        iban: Annotated[str, Secret(), Field(max_length=5)]

    job = job_of(Paid, list[Paid])
    for load in (job.load_input, job.load_result):
        with pytest.raises((InvalidInput, InvalidResult)) as wrong:
            load('{"iban": "DE02120300000000202051"}' if load == job.load_input else '[{"iban": "DE0212030000000020"}]')
        assert "DE02" not in str(wrong.value)
        assert wrong.value.__cause__ is None
    with pytest.raises(InvalidInput) as refused:
        job.dump_input(Paid.model_construct(iban="DE02120300000000202051"))
    assert (refused.value.__cause__, "DE02" in str(refused.value)) == (None, False)
