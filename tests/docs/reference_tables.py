"""The tables of the reference pages, made from the code: ``python -m tests.docs.reference_tables`` prints them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic_core import PydanticUndefined

from fastapi_events.settings import EventsSettings
from fastapi_events.settings.problems import variable_of

ROOT = Path(__file__).parents[2]
DAY = 86_400.0


def settings_table() -> str:
    """Every setting: variable, default, meaning; those that nothing reads are marked."""
    unread = unread_settings()
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, info in EventsSettings.model_fields.items():
        assert info.default is not PydanticUndefined
        meaning = " ".join((info.description or "").split()).replace("``", "`")
        note = "**No effect yet.** " if name in unread else ""
        lines.append(f"| `{variable_of(name)}` | {_shown(info.default)} | {note}{meaning} |")
    return "\n".join(lines)


def unread_settings() -> set[str]:
    """The settings that no code outside their own room reads."""
    code = "\n".join(_code())
    own = (ROOT / "fastapi_events/settings/events_settings.py").read_text(encoding="utf-8")
    return {
        name
        for name in EventsSettings.model_fields
        if not re.search(rf"settings\.{name}\b", code)
        and not re.search(rf"self\.{name}\b", own)
        and variable_of(name) not in code
    }


def _code() -> Iterator[str]:
    for folder in ("fastapi_events", "dashboard", "alembic"):
        for path in (ROOT / folder).rglob("*.py"):
            if "settings" not in path.parts:
                yield path.read_text(encoding="utf-8")


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, dict):
        return f"`{','.join(f'{key}={number}' for key, number in value.items())}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    text = f"`{int(value) if isinstance(value, float) and value.is_integer() else value}`"
    return f"{text} ({value / DAY:g} days)" if isinstance(value, float) and value >= DAY else text


if __name__ == "__main__":
    print(settings_table())
