"""Keeping secrets out of what people are shown: by the type of a field, by its name, and inside texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

from fastapi_events.api.observe.views import View
from fastapi_events.model.payload import exact_number
from fastapi_events.model.registry import Registry
from fastapi_events.settings import redacted as without_password

HIDDEN = "••••••"
"""What stands in place of a secret."""
_SECRET_WORDS = frozenset(
    {
        *("password", "passwords", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "tokens", "apikey"),
        *("authorization", "credential", "credentials", "cookie", "cookies", "cvc", "cvv", "pin", "otp", "signature"),
        "sessionid",
    }
)
_SECRET_PAIRS = frozenset({("api", "key"), ("private", "key"), ("access", "key"), ("session", "id")})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAME_IN_TEXT = re.compile(r"""(?P<quote>["']?)(?P<name>[A-Za-z][\w\-]{0,60})(?P=quote)\s*[=:]\s*""")
_VALUE_IN_TEXT = re.compile(r"""(?:Bearer|Basic|Token)\s+\S+|"[^"\n]*"|'[^'\n]*'|[^\s,;)}\]]+""")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=\-]{8,}")


_TEXTS = frozenset({"error_message", "traceback", "note"})
V = TypeVar("V", bound=View)


@dataclass(frozen=True, slots=True)
class Shown:
    """Content fit to be shown; ``text`` where the JSON cannot be read, ``hidden`` counts what was left out."""

    value: Any = None
    text: str | None = None
    hidden: int = 0


def without_secrets(view: V) -> V:
    """A reading's result with error messages, tracebacks and notes made fit to be shown."""
    changes: dict[str, Any] = {}
    for name in type(view).model_fields:
        value = getattr(view, name)
        if isinstance(value, str) and name in _TEXTS:
            changes[name] = redacted_text(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], View):
            views = cast("tuple[View, ...]", value)
            changes[name] = tuple(without_secrets(inner) for inner in views)
    return view.model_copy(update=changes)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is hidden whatever it holds: ``password``, ``api_key``, ``cardToken``, …"""
    words = [word.lower() for word in _WORD.findall(name)]
    return not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairwise(words))


def redacted_text(text: str) -> str:
    """A message or traceback with ``password=…``, ``Authorization: Bearer …`` and passwords of URLs hidden."""
    text = _without_named_secrets(without_password(text))
    return _BEARER.sub(lambda match: f"{match[1]} {HIDDEN}", text)


def _without_named_secrets(text: str) -> str:
    parts: list[str] = []
    done = 0
    for match in _NAME_IN_TEXT.finditer(text):
        value = _VALUE_IN_TEXT.match(text, match.end()) if is_secret_name(match["name"]) else None
        if value and match.start() >= done:
            parts += [text[done : match.end()], HIDDEN]
            done = value.end()
    return "".join([*parts, text[done:]])


class Redactor:
    """Hides secrets in payloads and headers; knows which fields of declared events are of a secret type."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def payload(self, name: str, version: int | None, text: str) -> Shown:
        """A payload (JSON text) of the event of this name, without its secrets."""
        return self._shown(text, self._secrets(name, version or 1))

    def other_versions(self, name: str, text: str | None) -> dict[str, Shown]:
        """The payloads (a JSON object) that an event carries in other versions, by version, without their secrets."""
        if not text:
            return {}
        try:
            payloads: dict[str, Any] = json.loads(text, parse_float=exact_number)
            return {
                version: _hidden(payload, self._secrets(name, int(version))) for version, payload in payloads.items()
            }
        except (ValueError, AttributeError, RecursionError):
            return {"": Shown(text=redacted_text(text[:2_000]))}

    def headers(self, text: str | None) -> Shown:
        """Headers (JSON text), without their secrets."""
        return self._shown(text, {}) if text else Shown()

    def _secrets(self, name: str, version: int) -> Mapping[str, Any]:
        """Those of the event's class; of a version without one here, those of every version that has one."""
        known = self._registry.class_of(name, version)
        if known is not None:
            return secret_fields(known)
        found: dict[str, Any] = {}
        for fields in map(secret_fields, self._registry.classes_of(name)):
            found.update((field, True if field in found else secret) for field, secret in fields.items())
        return found

    def _shown(self, text: str, secrets: Mapping[str, Any]) -> Shown:
        try:
            return _hidden(json.loads(text, parse_float=exact_number), secrets)
        except (ValueError, RecursionError):
            return Shown(text=redacted_text(text[:2_000]))


def _hidden(value: Any, secrets: Mapping[str, Any]) -> Shown:
    hiding = _Hiding()
    return Shown(value=hiding.without_secrets(value, secrets), hidden=hiding.count)


class _Hiding:
    def __init__(self) -> None:
        self.count = 0

    def without_secrets(self, value: Any, secrets: Mapping[str, Any]) -> Any:
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value)
            return {key: self._field(key, inner, secrets.get(key)) for key, inner in items.items()}
        if isinstance(value, list):
            return [self.without_secrets(inner, secrets) for inner in cast("Sequence[Any]", value)]
        return redacted_text(value) if isinstance(value, str) and "://" in value else value

    def _field(self, key: str, value: Any, secret: Any) -> Any:
        if value is not None and (secret is True or is_secret_name(key)):
            self.count += 1
            return HIDDEN
        return self.without_secrets(value, cast("Mapping[str, Any]", secret or {}))


@cache
def secret_fields(model: type[BaseModel]) -> Mapping[str, Any]:
    """The fields of a secret type: True, or for nested models their own secret fields."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        marks = [_secret_in(kind, model) for kind in _types_in(info.annotation)]
        secret = True if True in marks else next((mark for mark in marks if mark), None)
        if secret:
            for key in (name, info.alias, info.serialization_alias):
                if key:
                    found[key] = secret
    return found


def _secret_in(kind: Any, owner: type[BaseModel]) -> Any:
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
