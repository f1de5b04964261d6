"""What a job takes and gives, once a name that may be defined further down in its module is there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from fastapi_events.errors import InvalidJob


@dataclass(frozen=True, slots=True)
class ReadTypes:
    """The two types of a job, and what makes JSON of their values and back."""

    input_type: Any
    output_type: Any
    input_adapter: TypeAdapter[Any]
    output_adapter: TypeAdapter[Any]


class JobTypes:
    """The types of one job, read once; ``read`` raises ``NameError`` for a name that is not defined yet."""

    __slots__ = ("_known", "_owner", "_read")

    def __init__(self, read: Callable[[], ReadTypes], owner: str) -> None:
        self._read, self._owner = read, owner
        self._known: ReadTypes | None = None

    def look(self) -> None:
        """Raise ``InvalidJob`` for what can never work; a name that is not defined yet is let through."""
        with suppress(NameError):
            self._known = self._read()

    def read(self) -> ReadTypes:
        """The types; raises ``InvalidJob`` if a name in the signature is not defined now either."""
        if self._known is None:
            try:
                self._known = self._read()
            except NameError as error:
                raise InvalidJob(
                    f"{self._owner}: an annotation cannot be resolved ({_first_line(error)}). Import the name at run "
                    "time, outside TYPE_CHECKING, or define it outside of functions."
                ) from error
        return self._known


def called_by(function: Any) -> Any:
    """What is called: the function itself, or the method ``run`` of a class."""
    return function.run if is_class(function) else function


def is_class(function: object) -> bool:
    """Whether it is a class, of which each attempt makes an object."""
    return inspect.isclass(function)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:300]
