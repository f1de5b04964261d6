"""What holds for everything that is declared in a module: it is declared before whoever runs it has read it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from fastapi_events.errors import DeclarationError


class Declaring:
    """A named place for declarations, which is closed while a running instance has read it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._read = 0

    @contextmanager
    def read_by_a_running_instance(self) -> Generator[None]:
        """For the length of a block nothing can be added: whoever runs it has read it."""
        self._read += 1
        try:
            yield
        finally:
            self._read -= 1

    def _check_open(self, owner: str, function: Any, *, never: str = "run") -> None:
        """Raise ``DeclarationError`` for what is declared too late; ``never`` is what would not be done with it."""
        if self._read:
            raise DeclarationError(
                f"{owner} ({source_place(function)}) is declared after the Events object of its module has started, "
                f"which would never {never} it. Declare it before: import its Python module where Events(...) is made."
            )


def source_place(function: Any) -> str:
    """File and line of a function, or of the ``run`` of a class, for people."""
    code = getattr(function, "__code__", None) or getattr(getattr(function, "run", None), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
