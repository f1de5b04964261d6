"""Handlers that commands are given, of which there may be none."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from fastapi_events.cli.declared import declared_registry
from fastapi_events.errors import InvalidFilter
from fastapi_events.plugin.operating import Operators


async def check_handler(operators: Operators, events: Any, handler: str | None) -> None:
    """Raise ``InvalidFilter`` for a handler that neither the group nor the code has; asked where nothing was found."""
    if handler is None:
        return
    known = {view.name for view in await operators.observe.handlers()} | set(declared_registry(events).handlers)
    if handler not in known:
        near = get_close_matches(handler, sorted(known), n=1)
        mend = f"Did you mean {near[0]!r}?" if near else "Look for its id in 'fastapi-events handlers list'."
        raise InvalidFilter(f"handler {ascii(handler)[:80]}: the group {events.group!r} has none of this id. {mend}")
