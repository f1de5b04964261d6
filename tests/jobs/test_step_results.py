"""What steps return is stored by the return annotations of their functions."""

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events.errors import InvalidResult
from fastapi_events.model.step_result import step_result

if TYPE_CHECKING:

    class Unimported: ...


class Quote(BaseModel):
    cents: int


async def fetch_quote(sku: str) -> Quote: ...
def ask_for_quote(sku: str) -> Awaitable[Quote]: ...
def plain(sku: str) -> tuple[int, Quote]: ...
def says_nothing(sku): ...
async def gives_nothing() -> None: ...
async def give_session() -> AsyncSession: ...
async def give_unknown() -> "Unimported": ...


class Supplier:
    async def quote(self) -> Quote: ...

    async def __call__(self) -> Quote: ...


class Slotted:
    __slots__ = ()

    def __call__(self) -> list[Quote]: ...


KINDS: list[tuple[Any, Any, Any]] = [
    (fetch_quote, Quote, Quote(cents=1)),
    (ask_for_quote, Quote, Quote(cents=1)),
    (partial(fetch_quote, "A-1"), Quote, Quote(cents=1)),
    (plain, tuple[int, Quote], (1, Quote(cents=2))),
    (Supplier().quote, Quote, Quote(cents=1)),
    (Supplier(), Quote, Quote(cents=1)),
    (Slotted(), list[Quote], [Quote(cents=1)]),
    (Quote, Quote, Quote(cents=1)),
    (gives_nothing, type(None), None),
    (says_nothing, Any, {"cents": [1]}),
    (lambda: 7, Any, 7),
    (len, Any, 7),
]


@pytest.mark.parametrize(("function", "kind", "value"), KINDS)
def test_a_result_comes_back_as_its_function_says(function: Any, kind: Any, value: Any) -> None:
    found = step_result(function, owner="step 'quote'")
    assert found.kind == kind
    assert found.load(found.dump(value, owner="step 'quote'"), owner="step 'quote'") == value


def test_a_function_is_read_once() -> None:
    supplier = Supplier()
    assert step_result(supplier.quote, owner="one") is step_result(Supplier().quote, owner="two")
    assert step_result(fetch_quote, owner="one") is step_result(fetch_quote, owner="two")
    assert step_result(Slotted(), owner="one").kind == list[Quote]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (
            give_session,
            r"^step 'quote': give_session: its result \(AsyncSession\) cannot be stored as JSON .* Write a Pyd",
        ),
        (
            give_unknown,
            r"^step 'quote': the annotations of give_unknown cannot be resolved \(name 'Unimported'.*run time",
        ),
    ],
)
def test_what_can_never_be_stored_is_told_before_the_function_is_called(function: Any, told: str) -> None:
    with pytest.raises(InvalidResult, match=told):
        step_result(function, owner="step 'quote'")


def test_a_result_that_is_another_is_refused_with_its_place() -> None:
    quotes = step_result(plain, owner="step 'quote'")
    with pytest.raises(InvalidResult, match=r"^step 'quote': result \$\[1\].cents: Field required") as wrong:
        quotes.dump((1, {"cent": 2}), owner="step 'quote'")
    assert wrong.value.path == "$[1].cents"
    with pytest.raises(InvalidResult, match=r"^step 'quote': the stored result is not .*: \$: Input should be a valid"):
        quotes.load("7", owner="step 'quote'")
    with pytest.raises(InvalidResult, match=r"the result has \d+ bytes"):
        step_result(says_nothing, owner="step 'quote'").dump("x" * 100, owner="step 'quote'", max_size=50)
