"""What nobody is shown: fields of a secret type, fields marked as secret, and fields named like one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final, cast, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

HIDDEN: Final = "••••••"
"""What stands in place of a secret."""
SHORTEST = 4
"""Characters of a value that is looked for in texts: a shorter one would be found in words that have nothing to do."""
_SECRET_WORDS = frozenset(
    {
        *("password", "passwords", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "tokens", "apikey"),
        *("authorization", "credential", "credentials", "cookie", "cookies", "cvc", "cvv", "pin", "otp", "signature"),
        "sessionid",
    }
)
_SECRET_PAIRS = frozenset({("api", "key"), ("private", "key"), ("access", "key"), ("session", "id")})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class Secret:
    """Marks a field whose value handlers get and nobody is shown: ``iban: Annotated[str, Secret]``.

    It is hidden on pages, in API answers, in the event's ``repr`` and in what is logged and kept of errors. It is not
    encrypted: the database holds it.
    """


@cache
def is_secret_name(name: str) -> bool:
    """Whether a field of this name is hidden whatever it holds: ``password``, ``api_key``, ``cardToken``, …"""
    words = [word.lower() for word in _WORD.findall(name)]
    return not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairwise(words))


@cache
def secret_fields(model: type[BaseModel]) -> Mapping[str, Any]:
    """The fields that are secret by type or mark: True, or for nested models their own secret fields."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        marks = [_secret_in(kind, model) for kind in (*_types_in(info.annotation), *info.metadata)]
        secret = True if True in marks else next((mark for mark in marks if mark), None)
        if secret:
            for key in (name, info.alias, info.serialization_alias):
                if key:
                    found[key] = secret
    return found


def has_secrets(model: type[BaseModel]) -> bool:
    """Whether a model's own fields, or those of models in it, hold anything that nobody is shown."""
    return bool(secret_fields(model)) or any(map(is_secret_name, model.model_fields))


def hidden_in(model: type[BaseModel], field: str) -> bool:
    """Whether a field of this model is hidden altogether."""
    return secret_fields(model).get(field) is True or is_secret_name(field)


def secret_values(payload: str, model: type[BaseModel] | None) -> list[str]:
    """The texts and numbers in secret places of a payload (JSON text), the longest first; none if it cannot be read."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return []
    found: set[str] = set()
    stack: list[tuple[Any, Any]] = [(value, secret_fields(model) if model else {})]
    while stack:
        item, secrets = stack.pop()
        if isinstance(item, dict):
            inner: Mapping[str, Any] = {} if secrets is True else secrets or {}
            for key, one in cast("dict[str, Any]", item).items():
                hidden = secrets is True or inner.get(key) is True or is_secret_name(key)
                stack.append((one, True if hidden else inner.get(key)))
        elif isinstance(item, list):
            stack.extend((one, secrets) for one in cast("Sequence[Any]", item))
        elif secrets is True and item is not None and not isinstance(item, bool):
            found.add(str(item))
    return sorted((text for text in found if len(text) >= SHORTEST), key=len, reverse=True)


def without_values(text: str, values: Sequence[str]) -> str:
    """The text with these values hidden, as they are and as Python and JSON quote them."""
    for value in values:
        for shown in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
            text = text.replace(shown, HIDDEN)
    return text


def _secret_in(kind: Any, owner: type[BaseModel]) -> Any:
    if kind is Secret or isinstance(kind, Secret):
        return True
    if isinstance(kind, type) and issubclass(kind, (SecretStr, SecretBytes)):
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not owner:
        return secret_fields(kind)
    return None


def _types_in(annotation: Any) -> Iterator[Any]:
    """The annotation's own type and those inside ``X | None``, ``list[X]``, ``Annotated[X, …]``, …"""
    yield annotation
    for argument in get_args(annotation):
        yield from _types_in(argument)
