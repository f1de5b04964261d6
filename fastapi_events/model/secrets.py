"""What nobody is shown: fields of a secret type, fields marked as secret, and fields named like one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final, Literal, cast, get_args

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


Place = Literal[True] | tuple[type[BaseModel], ...]
"""What is at a place of a payload: a secret, or something of one of these models; of none, nothing is known of it."""


def inside(place: Place, name: str) -> Place:
    """What is under a name there. A name that a model does not know is one of a dictionary of such models."""
    if place is True or is_secret_name(name):
        return True
    found: list[type[BaseModel]] = []
    for model in place:
        below = _fields(model).get(name, (model,))
        if below is True:
            return True
        found += below
    return tuple(dict.fromkeys(found))


def holds_secret(place: Place) -> bool:
    """Whether anything there, however deep, is hidden."""
    if place is True:
        return True
    seen = list(place)
    for model in seen:
        for name, below in _fields(model).items():
            if below is True or is_secret_name(name):
                return True
            seen += [one for one in below if one not in seen]
    return False


def leads_to_secret(place: Place, path: Sequence[str]) -> bool:
    """Whether a path from there ends in a secret, goes through one, or ends at a field that holds one."""
    ends: list[type[BaseModel]] = []
    for name in path:
        if name.isdecimal():
            continue  # into a list
        if (below := inside(place, name)) is True or place is True:
            return True
        ends = []
        for model in place:
            known = _fields(model).get(name, ())
            ends += () if known is True else known
        place = below
    return holds_secret(tuple(ends))


def place_in(annotation: Any, *metadata: Any) -> Place:
    """What is at a place of this type: True if it is secret, else the models that are in it."""
    kinds = [*_types_in(annotation), *metadata]
    return True if any(map(_is_secret, kinds)) else tuple(filter(_is_model, kinds))


def is_marked(model: type[BaseModel], field: str) -> bool:
    """Whether a field is secret by its type or a mark."""
    return _fields(model).get(field) is True


def secret_values(payload: str, place: Place) -> list[str]:
    """The texts and numbers in secret places of a payload (JSON text), the longest first; none if it cannot be read."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return []
    found: set[str] = set()
    stack: list[tuple[Any, Place]] = [(value, place)]
    while stack:
        item, here = stack.pop()
        if isinstance(item, dict):
            stack.extend((one, inside(here, name)) for name, one in cast("dict[str, Any]", item).items())
        elif isinstance(item, list):
            stack.extend((one, here) for one in cast("Sequence[Any]", item))
        elif here is True and item is not None and not isinstance(item, bool):
            found.add(str(item))
    return sorted((text for text in found if len(text) >= SHORTEST), key=len, reverse=True)


def without_values(text: str, values: Sequence[str]) -> str:
    """The text with these values hidden, as they are and as Python and JSON quote them."""
    for value in values:
        for shown in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
            text = text.replace(shown, HIDDEN)
    return text


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, Place]:
    """Each field, by its name and aliases: True if it is secret, else the models that are in it."""
    found: dict[str, Place] = {}
    for name, info in model.model_fields.items():
        place = place_in(info.annotation, *info.metadata)
        for key in (name, info.alias, info.serialization_alias):
            if key:
                found[key] = place
    return found


def _is_secret(kind: Any) -> bool:
    if kind is Secret or isinstance(kind, Secret):
        return True
    return isinstance(kind, type) and issubclass(kind, (SecretStr, SecretBytes))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _types_in(annotation: Any) -> Iterator[Any]:
    """The annotation's own type and those inside ``X | None``, ``list[X]``, ``Annotated[X, …]``, …"""
    yield annotation
    for argument in get_args(annotation):
        yield from _types_in(argument)
