"""``dlq redrive`` and ``dlq discard``: counted, confirmed, in batches, with an end between any two of them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi_events.api.dead_letter_actions import check_reason
from fastapi_events.api.observe.filters import DeadLetterFilter, checked_id, parse_dead_letter_filter
from fastapi_events.api.operations import Changed
from fastapi_events.cli.asking import agreed
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.known_handlers import check_handler
from fastapi_events.cli.terminal import note, print_json, say
from fastapi_events.errors import EventsError, InvalidFilter
from fastapi_events.plugin.operating import Operators

BATCH = 100
"""Deliveries that one transaction changes."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to which dead letters: ids, or all that match a filter; ``rate`` is a number a second."""

    action: Literal["redrive", "discard"]
    selection: Sequence[UUID] | DeadLetterFilter
    reason: str
    actor: str
    limit: int
    rate: float


@dataclass(frozen=True, slots=True)
class Counted:
    """How many it concerns; ``capped``: that or more. ``cut_off`` is the moment of the count."""

    matching: int
    capped: bool = False
    cut_off: datetime | None = None

    @property
    def text(self) -> str:
        """The number for people."""
        more = " or more" if self.capped else ""
        return f"{self.matching:,}{more} dead letter{'' if self.matching == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Done:
    """How far an action got: of ``asked`` deliveries ``changed`` were still dead; ``stopped`` if it was interrupted."""

    matching: int
    asked: int = 0
    changed: int = 0
    stopped: bool = False


def selected(ids: Sequence[str], where: str) -> Sequence[UUID] | DeadLetterFilter:
    """The ids or the filter; raises ``InvalidFilter`` for neither and for both."""
    if ids and where:
        raise InvalidFilter("Ids and a filter were given. Give one of them: ids, or --handler, --name and --cause.")
    if ids:
        return list(dict.fromkeys(checked_id(one, "ID") for one in ids))
    if not where:
        raise InvalidFilter(
            "Which dead letters? Give their ids, or --handler, --name or --cause; acting on all of them needs a filter."
        )
    return parse_dead_letter_filter(where)


async def act(events: Any, plan: Plan, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Count, ask, and act in batches; the status is 130 after an interruption."""
    plan = replace(plan, reason=check_reason(plan.reason, needed=plan.action == "discard"))
    async with operators_of(events) as operators:
        counted = await _count(operators, plan)
        if not counted.matching and isinstance(plan.selection, DeadLetterFilter):
            await check_handler(operators, events, plan.selection.handler)
        done = Done(counted.matching)
        if counted.matching and not dry_run:
            if not agreed(_question(plan, counted), yes=yes):
                return 1
            done = await _in_batches(operators, plan, counted)
    if as_json:
        print_json(done)
    else:
        say(f"{counted.text} would be {_past(plan)}. Nothing was changed." if dry_run else _told(plan, done))
    return INTERRUPTED if done.stopped else 0


async def _count(operators: Operators, plan: Plan) -> Counted:
    if not isinstance(plan.selection, DeadLetterFilter):
        return Counted(len(plan.selection))
    page = await operators.observe.dead_letters(plan.selection, limit=1)
    return Counted(page.matching, page.capped, page.cut_off)


def _question(plan: Plan, counted: Counted) -> str:
    if not isinstance(plan.selection, DeadLetterFilter):
        return f"{plan.action.capitalize()} {counted.text}?"
    bounded = counted.capped or counted.matching > plan.limit
    bound = f" {plan.limit:,} at most are changed, the oldest." if bounded else ""
    return f"{counted.text} match{'es' if counted.text.endswith('letter') else ''}. {plan.action.capitalize()}?{bound}"


async def _in_batches(operators: Operators, plan: Plan, counted: Counted) -> Done:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    done = Done(counted.matching)
    try:
        while not stop.is_set():
            began = loop.time()
            changed = await _batch(operators, plan, done, counted.cut_off)
            if not changed.asked:
                return done
            done = replace(done, asked=done.asked + changed.asked, changed=done.changed + changed.changed)
            _show_progress(done)
            await _pause(stop, began + changed.asked / plan.rate - loop.time())
    except EventsError:
        note(_told(plan, done))
        raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    complete = done.asked >= plan.limit or (not counted.capped and done.asked >= counted.matching)
    return replace(done, stopped=not complete)


async def _batch(operators: Operators, plan: Plan, done: Done, cut_off: datetime | None) -> Changed:
    operations, where = operators.operations, plan.selection
    if not isinstance(where, DeadLetterFilter):
        ids = where[done.asked : done.asked + BATCH]
        if not ids:
            return Changed(0, 0)
        by_id = operations.redrive if plan.action == "redrive" else operations.discard
        return await by_id(ids, actor=plan.actor, reason=plan.reason)
    left = min(BATCH, plan.limit - done.asked)
    if left <= 0 or cut_off is None:
        return Changed(0, 0)
    matching = operations.redrive_matching if plan.action == "redrive" else operations.discard_matching
    return await matching(
        handler=where.handler, event_name=where.event_name, fingerprint=where.fingerprint, changed_before=cut_off,
        limit=left, actor=plan.actor, reason=plan.reason,
    )  # fmt: skip


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            return


def _show_progress(done: Done) -> None:
    if sys.stderr.isatty():
        note(f"{done.asked:,} of {done.matching:,}")


def _told(plan: Plan, done: Done) -> str:
    if not done.matching:
        return "No dead letter matches. Nothing was changed."
    left = done.asked - done.changed
    parts = [f"{done.changed:,} dead letter{'' if done.changed == 1 else 's'} {_past(plan)}"]
    parts += [f"{left:,} {'was' if left == 1 else 'were'} not dead any more"] if left else []
    if done.stopped:
        parts.append(f"stopped after {done.asked:,} of {done.matching:,}; the rest is unchanged")
    elif plan.limit <= done.asked < done.matching:
        parts.append("--limit was reached; there are more")
    return f"{'; '.join(parts)}."


def _past(plan: Plan) -> str:
    return "redriven" if plan.action == "redrive" else "discarded"
