"""``jobs logs``: what a run has said, and says."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, get_args
from uuid import UUID

from pydantic_core import to_jsonable_python

from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.observe.run_log import LogLevel, checked_level
from fastapi_events.api.redaction import Redactor
from fastapi_events.api.run_answers import LogLineAnswer, RunLogAnswer, run_log_answer
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.telling import fail
from fastapi_events.cli.terminal import clean, note, print_json, say

EVERY = 0.5
"""Seconds between two looks at a run that is followed."""
_STYLES = {"warning": "yellow", "error": "red", "critical": "red"}


def known_level(given: str | None) -> LogLevel | None:
    """A level by its name; raises ``InvalidFilter``."""
    checked_level(given)
    return next((level for level in get_args(LogLevel) if level == given), None)


async def show_logs(
    events: Any, run_id: UUID, *, level: LogLevel | None, limit: int, follow: bool, show_payload: bool, as_json: bool
) -> int:
    """The last lines of a run; with ``follow`` also those that come until it has ended.

    As JSON they are a page; those of a run that is followed are one object a line.
    """
    permissions = {Permission.view, *([Permission.view_payload] if show_payload else [])}
    actor, redactor, after = Actor("cli", permissions=frozenset(permissions), tenants=None), Redactor(), None
    async with operators_of(events) as operators:
        while True:
            found = await operators.observe.run_logs(run_id, after=after, level=level, limit=limit)
            if found is None:
                fail(
                    f"The group {events.group!r} has no run {run_id}, or the transaction that started it has not been "
                    "committed. 'fastapi-events jobs list' shows those that there are."
                )
            page = run_log_answer(found, redactor, actor)
            if as_json and not follow:
                print_json(page)
                return 0
            _print_page(page, as_json=as_json, first=after is None)
            after = page.newest
            if not follow or (page.ended and not page.more):
                break
            if not page.more:
                sys.stdout.flush()
                await asyncio.sleep(EVERY)
    _say_what_is_not_there(page, run_id, follow=follow)
    return 0


def _print_page(page: RunLogAnswer, *, as_json: bool, first: bool) -> None:
    if first and page.older is not None:
        note("There are earlier lines: --limit shows more.")
    for line in page.lines:
        if as_json:
            say(json.dumps(to_jsonable_python(line)))  # ASCII alone: nothing that a terminal would obey
        else:
            _print_line(line)


def _print_line(line: LogLineAnswer) -> None:
    where = "/".join(filter(None, (str(line.attempt), line.step)))
    moment = f"{line.at:%Y-%m-%d %H:%M:%S}.{line.at.microsecond // 1000:03d}"
    words = [moment, line.level.upper().ljust(8), f"[{where}]"]
    said = [f"{line.logger}:"] if line.logger else []
    given: dict[str, Any] = line.fields or {}
    fields = [f"{name}={_field(value)}" for name, value in given.items()]
    say(clean(" ".join([*words, *said, line.message, *fields]), lines=True), style=_STYLES.get(line.level, ""))
    if line.traceback:
        say(clean(line.traceback, lines=True))


def _field(value: Any) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)


def _say_what_is_not_there(page: RunLogAnswer, run_id: UUID, *, follow: bool) -> None:
    if page.left_out:
        note(f"{page.left_out:,} lines are left out: the run has said more than is kept.")
    if not page.lines and not follow and page.older is None:
        note(f"Run {run_id} has said nothing{'' if page.ended else ' yet'}, or nothing of that level is kept.")
