"""Keeping secrets out of what people are shown: by the type of a field, by its name, and inside texts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from fastapi_events.api.observe.views import View
from fastapi_events.model.event import declared_classes
from fastapi_events.model.payload import exact_number
from fastapi_events.model.secrets import HIDDEN, Place, inside, is_secret_name, leads_to_secret
from fastapi_events.settings import redacted as without_password

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
        elif isinstance(value, View):
            changes[name] = without_secrets(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], View):
            views = cast("tuple[View, ...]", value)
            changes[name] = tuple(without_secrets(inner) for inner in views)
    return view.model_copy(update=changes)


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
    """Hides secrets in payloads and headers; knows which fields of the process's event classes are secret.

    All versions of an event hide what is secret in one of them.
    """

    def payload(self, name: str, text: str) -> Shown:
        """A payload (JSON text) of the event of this name, without its secrets."""
        return _shown(text, tuple(declared_classes(name)))

    def other_versions(self, name: str, text: str | None) -> dict[str, Shown]:
        """The payloads (a JSON object) that an event carries in other versions, by version, without their secrets."""
        if not text:
            return {}
        place = tuple(declared_classes(name))
        try:
            payloads: dict[str, Any] = json.loads(text, parse_float=exact_number)
            return {version: _hidden(payload, place) for version, payload in payloads.items()}
        except (ValueError, AttributeError, RecursionError):
            return {"": Shown(text=redacted_text(text[:2_000]))}

    def hides(self, path: Sequence[str], name: str | None) -> bool:
        """Whether the value at a path of payloads is secret, by a name in it or in a class of this name (None: any)."""
        return leads_to_secret(tuple(declared_classes(name)), path)

    def content(self, text: str, place: Place) -> Shown:
        """A value of a run (JSON text) of which ``place`` says what is secret, without its secrets."""
        return _shown(text, place)

    def headers(self, text: str | None) -> Shown:
        """Headers (JSON text), without their secrets."""
        return _shown(text, ()) if text else Shown()


def _shown(text: str, place: Place) -> Shown:
    try:
        return _hidden(json.loads(text, parse_float=exact_number), place)
    except (ValueError, RecursionError):
        return Shown(text=redacted_text(text[:2_000]))


def _hidden(value: Any, place: Place) -> Shown:
    hiding = _Hiding()
    return Shown(value=hiding.without_secrets(value, place), hidden=hiding.count)


class _Hiding:
    def __init__(self) -> None:
        self.count = 0

    def without_secrets(self, value: Any, place: Place) -> Any:
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value)
            return {name: self._field(inner, inside(place, name)) for name, inner in items.items()}
        if isinstance(value, list):
            return [self.without_secrets(inner, place) for inner in cast("Sequence[Any]", value)]
        return redacted_text(value) if isinstance(value, str) and "://" in value else value

    def _field(self, value: Any, place: Place) -> Any:
        if value is not None and place is True:
            self.count += 1
            return HIDDEN
        return self.without_secrets(value, place)
