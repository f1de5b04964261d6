"""Filters made of a command's options; what they mean is decided where the JSON API's are."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi_events.errors import InvalidFilter


def filter_of(written: str | None, options: Iterable[tuple[str, str, str | None]]) -> str:
    """The filter that was written, with a term for each option (its name, the term's key, its value) that was given."""
    terms = [written] if written else []
    terms += [_term(option, key, value) for option, key, value in options if value is not None]
    return " ".join(terms)


def _term(option: str, key: str, value: str) -> str:
    if not value.strip() or '"' in value:
        raise InvalidFilter(f'{option} {value!r}: a value is some text without quotation marks (").')
    return f'{key}:"{value}"' if any(char.isspace() for char in value) else f"{key}:{value}"
