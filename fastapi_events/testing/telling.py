"""What an assertion says when it fails; all wording is here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

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
    asked = [f"{name}={value!r}" for name, value in fields.items()]
    if where is not None:
        asked.append("where=...")
    return f"{event_class.__name__}({', '.join(asked)})"


def _shown(one: Any, fields: Mapping[str, object]) -> str:
    """One event, what differs first: ``order_id=7 (not 8), sku='A-1'``."""
    event = one.event
    values: dict[str, Any] = (
        dict(event) if hasattr(event, "model_fields_set") else {"payload": getattr(event, "payload", event)}
    )
    differing = [name for name, wanted in fields.items() if name in values and values[name] != wanted]
    told = [f"{name}={_short(values[name])} (not {_short(fields[name])})" for name in differing]
    told += [f"{name}={_short(value)}" for name, value in values.items() if name not in differing]
    place = f"at {one.position}" if one.position is not None else "scheduled" if one.due_at else "uncommitted"
    return f"{place}: {', '.join(told) or 'no fields'}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
