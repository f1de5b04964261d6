"""What ``job()`` is told about a job, checked where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypedDict, TypeVar, get_args

from fastapi_events.errors import ContradictoryOptions, InvalidJob, ReservedPoolViolationError
from fastapi_events.model.durations import checked_span
from fastapi_events.model.handler_options import check_retry
from fastapi_events.model.job import DEFAULT_POOL, ReplayFrom
from fastapi_events.model.job_limits import Concurrency, Dedupe, RateLimit, not_among
from fastapi_events.model.lane import LANES
from fastapi_events.model.retry import Retry
from fastapi_events.model.trigger import Trigger, checked_triggers

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")
_POOL = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
LOWEST_PRIORITY, HIGHEST_PRIORITY = -32_767, 32_767


class JobOptions(TypedDict):
    """The options of one job as its declaration keeps them; times are in seconds."""

    pool: str
    retry: Retry | None
    timeout: float | None
    scope: Callable[[Any], tuple[str, Any] | None] | None
    concurrency: Concurrency | None
    dedupe: Dedupe | None
    rate_limit: RateLimit | None
    priority: int
    triggers: tuple[Trigger[Any, Any], ...]
    replay_from: ReplayFrom
    keep_result: float | None
    announce: bool | None
    was: tuple[str, ...]


def checked_job_options(
    name: str,
    owner: str,
    *,
    pool: Any,
    retry: Any,
    timeout: Any,
    scope: Any,
    concurrency: Any,
    dedupe: Any,
    rate_limit: Any,
    priority: Any,
    triggers: Any,
    replay_from: Any,
    keep_result: Any,
    announce: Any,
    was: Any,
) -> JobOptions:
    """The options, if each is a value that can work; ``owner`` is what the errors name.

    Raises ``ContradictoryOptions``, ``InvalidJob``, ``DuplicateTrigger`` or ``ReservedPoolViolationError``.
    """
    check_retry(retry, owner)
    _check_scope(scope, owner)
    if type(priority) is not int or not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise ContradictoryOptions(
            f"{owner}: priority={ascii(priority)[:80]} is not a whole number from {LOWEST_PRIORITY:,} to "
            f"{HIGHEST_PRIORITY:,}. The higher goes first; 0 is the rule."
        )
    if replay_from not in get_args(ReplayFrom):
        raise ContradictoryOptions(f"{owner}: {not_among(replay_from, 'replay_from', get_args(ReplayFrom))}")
    return JobOptions(
        pool=_checked_pool(pool, owner),
        retry=retry,
        timeout=checked_span(timeout, "timeout", owner, none="leaves no time to run"),
        scope=scope,
        concurrency=_checked(concurrency, "concurrency", Concurrency, "Concurrency(limit=1)", owner),
        dedupe=_checked(dedupe, "dedupe", Dedupe, "Dedupe(key=lambda restock: restock.sku)", owner),
        rate_limit=_checked(rate_limit, "rate_limit", RateLimit, "RateLimit(100, per=60)", owner),
        priority=priority,
        triggers=checked_triggers(triggers, name, owner),
        replay_from=replay_from,
        keep_result=checked_span(keep_result, "keep_result", owner, none="leaves no time to read the result"),
        announce=_checked_flag(announce, "announce", owner),
        was=_checked_was(was, name, owner),
    )


def checked_job_name(name: object) -> str:
    """The name of a job; raises ``InvalidJob`` for what can't be one."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidJob(
            f"job name {ascii(name)[:80]}: a name is 1 to 200 letters, digits and the signs '_.:-'. Give one as in "
            "@module.job('inventory.restock')."
        )
    return name


def _checked_pool(pool: Any, owner: str) -> str:
    if not isinstance(pool, str) or not _POOL.match(pool):
        raise InvalidJob(
            f"{owner}: pool={ascii(pool)[:80]} is no name of a pool: lower-case letters, digits and underscores, 63 at "
            f"most, beginning with a letter. Write pool={DEFAULT_POOL!r}, pool='interactive', or a pool of your own."
        )
    if pool in LANES or pool == "events" or pool.startswith("events_"):
        raise ReservedPoolViolationError(
            f"{owner}: pool={pool!r} is reserved for the handlers of events, which a job's runs would hold up. Write "
            f"pool={DEFAULT_POOL!r}, pool='interactive', or a pool of your own."
        )
    return pool


def _checked(option: Any, name: str, kind: type[T], example: str, owner: str) -> T | None:
    if option is None or isinstance(option, kind):
        return option
    what = f"the class {kind.__name__}" if option is kind else ascii(option)[:80]
    raise ContradictoryOptions(f"{owner}: {name}={what} is no {kind.__name__} object. Write {name}={example}.")


def _checked_flag(flag: Any, name: str, owner: str) -> bool | None:
    if flag is None or isinstance(flag, bool):
        return flag
    raise ContradictoryOptions(
        f"{owner}: {name}={ascii(flag)[:80]} is neither True nor False. Leave it out for what the settings say."
    )


def _check_scope(scope: Any, owner: str) -> None:
    if not (scope is None or callable(scope)):
        raise ContradictoryOptions(
            f"{owner}: scope={ascii(scope)[:80]} is not a function of the input. Write e.g. scope=lambda restock: "
            "('warehouse', restock.warehouse_id); for one run, jobs.start(..., scope=('warehouse', 7))."
        )


def _checked_was(was: Any, name: str, owner: str) -> tuple[str, ...]:
    if isinstance(was, str) or not hasattr(was, "__iter__"):
        raise ContradictoryOptions(f"{owner}: was={ascii(was)[:80]} is not a list of names. Write was=['old.name'].")
    found = tuple(map(checked_job_name, was))
    if name in found:
        raise ContradictoryOptions(f"{owner}: was= has the name that the job has now. Leave it out of the list.")
    return found
