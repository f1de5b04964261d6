"""Printing what the doctor finds."""

from __future__ import annotations

from typing import Any

from fastapi_events.cli.doctor import Finding, examine
from fastapi_events.cli.loading import load_events
from fastapi_events.cli.telling import PROBLEM, import_problem
from fastapi_events.cli.terminal import STYLES, clean, print_json, say, say_hanging
from fastapi_events.errors import EventsError

_WIDTH = 23


async def diagnose(app: str | None, *, strict: bool, as_json: bool) -> int:
    """Every check, one a line, worst news with their mends; the status is 1 if one failed."""
    found: list[Finding] = []
    events = _load(app, found)
    if events is not None:
        async for finding in examine(events):
            found.append(finding)
            if not as_json:
                _print(finding)
    elif not as_json:
        _print(found[0])
    counts = {status: sum(finding.status == status for finding in found) for status in ("ok", "warn", "fail")}
    failed = counts["fail"] > 0 or (strict and counts["warn"] > 0)
    if as_json:
        print_json({"healthy": not failed, "findings": found})
    else:
        say(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
    return PROBLEM if failed else 0


def _load(app: str | None, found: list[Finding]) -> Any:
    """The ``Events`` object; None after noting why there is none."""
    try:
        return load_events(app)
    except EventsError as error:
        found.append(Finding("application", "fail", f"{type(error).__name__}: {error}", "Correct what it names."))
    except Exception as error:  # noqa: BLE001 - the application's own, whatever it is
        found.append(Finding("application", "fail", import_problem(error), "Make the application importable."))
    return None


def _print(finding: Finding) -> None:
    lead = f"{finding.status:<4}  {finding.name.ljust(_WIDTH)}"
    say_hanging(lead, clean(finding.message, lines=True), style=STYLES[finding.status])
    if finding.mend is not None:
        say_hanging(" " * (len(lead) - 2) + "→ ", clean(finding.mend, lines=True))
