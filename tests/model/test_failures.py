"""Recording a failure never fails, whatever was raised."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_events.engine.failure import MAX_MESSAGE, MAX_TRACEBACK, failure_of, fingerprint_of, safe_text

ANY_TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=200)


@given(ANY_TEXT, st.integers(0, 200))
def test_any_text_becomes_text_that_can_be_stored_and_shown(text: str, repeat: int) -> None:
    safe = safe_text(text * repeat, MAX_MESSAGE)
    assert len(safe) <= MAX_MESSAGE
    safe.encode("utf-8")
    assert not any(ord(sign) < 32 and sign not in "\t\n" for sign in safe)
    assert not any(0x7F <= ord(sign) <= 0x9F for sign in safe)


@given(st.lists(st.one_of(ANY_TEXT, st.binary(max_size=200)), max_size=4), st.integers(0, 8))
def test_any_chain_of_errors_becomes_a_bounded_record(parts: list[str | bytes], depth: int) -> None:
    error: BaseException = ValueError(*parts)
    for _ in range(depth):
        outer = RuntimeError(*parts)
        outer.__cause__ = error
        error = outer
    what = failure_of(error)
    assert len(what.message) <= MAX_MESSAGE
    assert len(what.traceback) <= MAX_TRACEBACK
    (what.error_type + what.message + what.traceback).encode()
    assert len(fingerprint_of(what)) == 16


class Broken(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class Lying(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise ValueError(name)


@pytest.mark.parametrize("kind", [Broken, Lying])
def test_a_hostile_error_has_a_record_too(kind: type[Exception]) -> None:
    what = failure_of(kind("x"))
    assert what.error_type.endswith(kind.__qualname__)


def test_failures_of_one_cause_share_a_fingerprint_and_others_do_not() -> None:
    def record(message: str, kind: type[Exception] = ValueError) -> str:
        try:
            raise kind(message)
        except Exception as error:  # noqa: BLE001
            return fingerprint_of(failure_of(error))

    one = record("order 17 of 'anna' at 0x7f00 is gone")
    assert record("order 18 of 'berta' at 0x7f11 is gone") == one
    assert record("order 17 of 'anna' at 0x7f00 is late") != one
    assert record("order 17 of 'anna' at 0x7f00 is gone", KeyError) != one
