"""``jobs list``: runs, page by page."""

from __future__ import annotations

from typing import Any

from fastapi_events.api.observe import MAX_PAGE
from fastapi_events.api.observe.job_views import RunPage, RunSummary
from fastapi_events.api.observe.run_filters import parse_run_filter
from fastapi_events.api.run_answers import run_page_answer
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.moments import ago
from fastapi_events.cli.terminal import Column, print_json, print_table, say


def scope_of(run: Any) -> str | None:
    """``account/42``, as a filter takes it."""
    return run.scope and f"{run.scope}/{run.scope_id}"


def what_of(run: RunSummary) -> str | None:
    """The word that says most about how it stands."""
    if run.state == "pending":
        return None if run.due_at is None else f"due {ago(run.due_at)}"
    return run.error_type or run.note or run.reason


def took(seconds: float | None) -> str | None:
    """How long an attempt took."""
    if seconds is None:
        return None
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


def took_of(run: RunSummary) -> str | None:
    """How long its last attempt took; of one that never began there is none."""
    return took(run.duration) if run.attempts or run.state != "canceled" else None


COLUMNS = (
    Column("RUN", lambda r: r.id, whole=True),
    Column("JOB", lambda r: r.job),
    Column("STATE", lambda r: r.state),
    Column("TRIES", lambda r: r.attempts, right=True),
    Column("AGE", lambda r: ago(r.created_at), right=True),
    Column("ENDED", lambda r: ago(r.finished_at), wide=True, right=True),
    Column("TOOK", took_of, wide=True, right=True),
    Column("SCOPE", scope_of, wide=True),
    Column("TENANT", lambda r: r.tenant_id, wide=True),
    Column("WHAT", what_of, wide=True),
)


async def list_runs(events: Any, where: str, *, cursor: str | None, limit: int, as_json: bool) -> int:
    """Runs, newest first."""
    wanted = parse_run_filter(where)
    found: list[RunSummary] = []
    async with operators_of(events) as operators:
        while True:
            size = min(limit - len(found), MAX_PAGE)
            page = run_page_answer(await operators.observe.runs(wanted, cursor=cursor, limit=size))
            found += page.runs
            cursor = page.older
            if cursor is None or page.searched or len(found) >= limit:
                break
    whole = RunPage(runs=tuple(found), older=cursor, searched=page.searched)
    if as_json:
        print_json(whole)
        return 0
    print_table(COLUMNS, whole.runs, empty="No run matches.")
    if whole.searched:
        say(f"The search was stopped: few of the newest match. Go on with --cursor {whole.older}")
    elif whole.older is not None:
        say(f"There are older ones: --cursor {whole.older}")
    return 0
