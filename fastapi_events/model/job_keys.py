"""Keys and scopes that functions of users make of a job's input: short texts, or they are refused."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

from fastapi_events.errors import InvalidInput, InvalidPayload
from fastapi_events.model.payload import checked_text, exact_number

_IDS = (str, int, UUID)


def checked_key(key: Any, option: str, owner: str) -> str | None:
    """The key, None if the function said that there is none; raises ``InvalidInput`` for what cannot be one."""
    if key is None:
        return None
    if not isinstance(key, str):
        raise InvalidInput(
            f"{owner}: the key of {option}= came to {ascii(key)[:80]}, which is not a string. Return str(...) of it, "
            "or None for no key."
        )
    return _checked(key, f"{option} key", owner, "None for an input that has no key")


def checked_scope(scope: Any, owner: str) -> tuple[str, str] | None:
    """Type and id of what a run belongs to, None for nothing; raises ``InvalidInput``. An id may be a number."""
    if scope is None:
        return None
    if not _is_scope(scope):
        raise InvalidInput(
            f"{owner}: scope {ascii(scope)[:80]} is not a pair of a type and an id, such as ('account', account.id)."
        )
    none = "None for a run that belongs to nothing"
    return _checked(scope[0], "scope type", owner, none), _checked(str(scope[1]), "scope id", owner, none)


def checked_signal(name: Any, owner: str) -> str:
    """The name of a signal; raises ``InvalidInput`` for what cannot be one."""
    if not isinstance(name, str) or not name or name.isspace():
        raise InvalidInput(f"{owner}: {ascii(name)[:80]} is no name of a signal. Write e.g. 'approved'.")
    return _checked(name, "name of a signal", owner, "a text")


def checked_run_id(run: Any, owner: str) -> UUID:
    """The id of a run, which may be given as text; raises ``InvalidInput``."""
    try:
        return run if isinstance(run, UUID) else UUID(run)
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(
            f"{owner}: {ascii(run)[:80]} is no run. Pass what jobs.start() has returned, or the id of a run."
        ) from None


def key_of_whole(text: str) -> str:
    """A digest of a stored input: the same for the same values, in whatever order their names stand."""
    value = json.loads(text, parse_float=exact_number)
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return sha256(canonical.encode()).hexdigest()


def _is_scope(scope: object) -> bool:
    pair: Any = scope
    return isinstance(scope, tuple) and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) in _IDS


def _checked(text: str, what: str, owner: str, none: str) -> str:
    if not text or text.isspace():
        raise InvalidInput(f"{owner}: the {what} is blank, which all that lack one would share. Return {none}.")
    try:
        return checked_text(text, what, owner)
    except InvalidPayload as error:
        raise InvalidInput(str(error)) from error
