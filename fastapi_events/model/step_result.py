"""What a step's function returns, as it is stored and comes back: by its return annotation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter

from fastapi_events.errors import InvalidJob, InvalidPayload, InvalidResult
from fastapi_events.model.job_signature import returned
from fastapi_events.model.secrets import holds_secret, place_in
from fastapi_events.model.values import decode_value, encode_value


class StepResult:
    """The type of one function's results, and what makes JSON of them and back."""

    __slots__ = ("_adapter", "kind", "secret")

    def __init__(self, kind: Any, adapter: TypeAdapter[Any]) -> None:
        self.kind, self._adapter = kind, adapter
        self.secret = holds_secret(place_in(kind))
        """Whether people are not to be shown it; they know nothing of its type."""

    def dump(self, value: Any, *, owner: str, max_size: int | None = None) -> str:
        """The result as JSON text of at most ``max_size`` bytes; ``owner`` is the step, as errors name it.

        Raises ``InvalidResult``, with the path inside the result.
        """
        try:
            return encode_value(value, self._adapter, self.kind, what="result", owner=owner, max_size=max_size)
        except InvalidPayload as error:
            raise InvalidResult(str(error), path=error.path) from error.__cause__

    def load(self, text: str | bytes, *, owner: str) -> Any:
        """The result that was stored as this text; raises ``InvalidResult`` if it is not what is returned now."""
        try:
            return decode_value(text, self._adapter, self.kind, what="result", owner=owner)
        except InvalidPayload as error:
            raise InvalidResult(str(error), path=error.path) from error.__cause__


_known: WeakKeyDictionary[Any, StepResult] = WeakKeyDictionary()


def step_result(function: Callable[..., Any], *, owner: str) -> StepResult:
    """How results of this function are stored, read once for each function.

    It is for before the function is called: raises ``InvalidResult`` for a return annotation that cannot be stored as
    JSON, or not be read.
    """
    key: Any = getattr(function, "__func__", function)  # a bound method is made anew whenever it is asked for
    try:
        found = _known.get(key)
    except TypeError:  # an object that cannot be hashed, or not be referred to weakly
        return _read(function, owner)
    if found is None:
        found = _read(function, owner)
        _known[key] = found
    return found


def _read(function: Callable[..., Any], owner: str) -> StepResult:
    try:
        return StepResult(*returned(function, f"{owner}: {_name(function)}"))
    except InvalidJob as error:
        raise InvalidResult(str(error)) from error
    except NameError as error:
        raise InvalidResult(
            f"{owner}: the annotations of {_name(function)} cannot be resolved ({error}). Import the name at run time, "
            "outside TYPE_CHECKING, or define it outside of functions."
        ) from error


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
