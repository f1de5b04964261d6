"""What an assertion says when it fails, without secrets: all wording is here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi_events.api.redaction import Redactor
from fastapi_events.model.event import Event, RawEvent
from fastapi_events.model.secrets import HIDDEN, holds_secret, inside

MOST_SHOWN = 10
_LONGEST = 120


def found_instead(
    event_class: type[Any], where: object, fields: Mapping[str, object], everything: Sequence[Any], found: int,
    wanted: str,
) -> str:  # fmt: skip
    """Which event was looked for, how many there were, and what else was published."""
    name = event_class.__event_options__.name
    same = [one for one in everything if one.name == name]
    head = f"{_asked(event_class, where, fields)}: {wanted} expected, {found or 'none'} published."
    lines = [f"  {_shown(one, fields)}" for one in same[:MOST_SHOWN]]
    if len(same) > MOST_SHOWN:
        lines.append(f"  … and {len(same) - MOST_SHOWN} more")
    others = Counter(one.name for one in everything if one.name != name)
    rest = ", ".join(f"{other} ({count})" for other, count in sorted(others.items()))
    of_class = f"Of {name} there {'is' if len(same) == 1 else 'are'} {len(same)}:" if same else f"There is no {name}."
    return "\n".join([head, of_class, *lines, f"Other events: {rest or 'none'}."])


def _asked(event_class: type[Any], where: object, fields: Mapping[str, object]) -> str:
    asked = [f"{name}={_value(event_class, name, value)!r}" for name, value in fields.items()]
    if where is not None:
        asked.append("where=...")
    return f"{event_class.__name__}({', '.join(asked)})"


def _shown(one: Any, fields: Mapping[str, object]) -> str:
    """One event, what differs first: ``order_id=7 (not 8), sku='A-1'``."""
    event: Event | RawEvent = one.event
    kind = type(event)
    values: dict[str, Any] = dict(event) if isinstance(event, Event) else {"payload": _raw(event)}
    differing = [name for name, wanted in fields.items() if name in values and values[name] != wanted]
    shown = {name: shortened(_value(kind, name, value)) for name, value in values.items()}
    told = [f"{name}={shown[name]} (not {shortened(_value(kind, name, fields[name]))})" for name in differing]
    told += [f"{name}={text}" for name, text in shown.items() if name not in differing]
    place = f"at {one.position}" if one.position is not None else "scheduled" if one.due_at else "uncommitted"
    return f"{place}: {', '.join(told) or 'no fields'}"


def _value(kind: type[Any], name: str, value: object) -> object:
    """A field's value, or what stands for it as in the event's own ``repr``."""
    hidden = value is not None and issubclass(kind, Event) and holds_secret(inside((kind,), name))
    return HIDDEN_VALUE if hidden else value


def _raw(event: RawEvent) -> object:
    """A payload that is of no class here; what any class of the name says is secret is hidden."""
    shown = Redactor().payload(event.name, json.dumps(event.payload, default=str))
    return shown.value if shown.text is None else shown.text


class _Hidden:
    def __repr__(self) -> str:
        return HIDDEN


HIDDEN_VALUE = _Hidden()


def shortened(value: object) -> str:
    """A value as Python writes it, cut."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
