"""The SQL statements: one verb-named file each under ``sql/``, read once and bound to one PostgreSQL schema."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi_events.store.schema import quoted

_PARTS = ("announce_ends", "close_families")
"""What is the same in several statements: they have its name in braces."""


class Statements:
    """Statements by name for one schema: ``statements["claim_windows"]`` is the text of ``sql/claim_windows.sql``."""

    def __init__(self, schema: str = "events") -> None:
        self.schema = schema
        self._prefix = quoted(schema)

    def __getitem__(self, name: str) -> str:
        return _bound(name, self._prefix)


@cache
def _bound(name: str, prefix: str) -> str:
    return _text(name).replace("{schema}", prefix)


@cache
def _text(name: str) -> str:
    text = _read(name)
    for part in _PARTS:
        text = text.replace(f"{{{part}}}", _read(f"jobs/{part}").strip())
    return text


def _read(name: str) -> str:
    return files("fastapi_events.store").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
