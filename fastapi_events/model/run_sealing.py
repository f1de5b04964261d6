"""From what ``jobs.start`` is told to a run that can be started: checked before any SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi_events.errors import LONGEST_DELAY, ContradictoryOptions, InvalidInput
from fastapi_events.model.context import Flow
from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.identity import new_id
from fastapi_events.model.job import Job
from fastapi_events.model.job_keys import checked_scope
from fastapi_events.model.job_options import HIGHEST_PRIORITY, LOWEST_PRIORITY
from fastapi_events.model.payload import checked_text
from fastapi_events.model.run_limits import limits_of
from fastapi_events.model.run_start import RunStart
from fastapi_events.model.tenancy import UNSAID, Unsaid, checked_tenant, missing_tenant
from fastapi_events.model.unknown_options import check_known

MOST_TAGS = 20


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What ``jobs.start`` may be told about one run; everything left out is the job's, inherited, or derived."""

    run_at: datetime | None = None
    delay: float | timedelta | None = None
    priority: int | None = None
    tags: Sequence[str] = ()
    scope: tuple[str, Any] | None = None
    tenant_id: str | Unsaid | None = UNSAID
    correlation_id: UUID | None = None
    run_id: UUID | None = None
    """Derived from what the run is the only one of; nobody gives it by hand."""


_OPTIONS = tuple(field.name for field in fields(StartOptions) if field.name != "run_id")
NO_OPTIONS = StartOptions()
_NOBODY = UUID(int=0)


def start_options(given: Mapping[str, Any]) -> StartOptions:
    """The options as a value; raises ``UnknownOption`` with the near miss."""
    check_known(given, _OPTIONS, owner="jobs.start()")
    return StartOptions(**given) if given else NO_OPTIONS


def seal_run(
    job: Job[Any, Any], number: int, value: Any, flow: Flow, rules: PublishRules, given: StartOptions = NO_OPTIONS
) -> RunStart:
    """The run as it is to be stored.

    Raises ``InvalidInput`` for the input and for options that cannot be stored, ``ContradictoryOptions`` for two that
    exclude each other, and ``MissingTenantIdError``; always before any SQL.
    """
    [sealed] = seal_runs(job, number, (value,), flow, rules, given)
    return sealed


def seal_runs(
    job: Job[Any, Any], number: int, values: Iterable[Any], flow: Flow, rules: PublishRules, given: StartOptions
) -> list[RunStart]:
    """A run for each value, as ``seal_run``: what they have in common is checked and made once."""
    owner = f"jobs.start({job.name})"
    sample = _common(job, number, flow, rules, given, owner)
    by_value = given.scope is None and job.scope is not None
    common, correlation_id, sealed = sample[5:], given.correlation_id or flow.correlation_id, list[RunStart]()
    for value in values:
        text = job.dump_input(value, max_size=rules.max_payload_size)
        run_id = given.run_id or new_id()
        one = RunStart._make((run_id, number, job.name, text, correlation_id or run_id, *common))
        if by_value:
            scope, scope_id = job.scope_of(value) or (None, None)
            one = one._replace(scope=scope, scope_id=scope_id)
        limits = limits_of(job, value, text, sample.tenant_id)
        sealed.append(one if limits is None else one._replace(limits=limits))
    return sealed


def _common(
    job: Job[Any, Any], number: int, flow: Flow, rules: PublishRules, given: StartOptions, owner: str
) -> RunStart:
    """What runs have that are started together, in the place of one of them."""
    tenant = flow.tenant_id if given.tenant_id is UNSAID else given.tenant_id
    if tenant is None and rules.multi_tenant and given.tenant_id is UNSAID:
        raise missing_tenant(owner)
    if tenant is not None:
        checked_tenant(tenant, owner)
    scope, scope_id = checked_scope(given.scope, owner) or (None, None)
    delay, at = due_of_run(given, owner)
    return RunStart(
        id=_NOBODY, job_id=number, name=job.name, input="", correlation_id=_NOBODY,
        priority=job.priority if given.priority is None else _checked_priority(given.priority, owner),
        depth=flow.depth, causation_id=flow.causation_id, tenant_id=tenant, actor=flow.actor,
        scope=scope, scope_id=scope_id, tags=_tags(given.tags, owner), traceparent=flow.traceparent, delay=delay, at=at,
    )  # fmt: skip


def _tags(given: Sequence[str], owner: str) -> tuple[str, ...] | None:
    if isinstance(given, str):
        raise InvalidInput(f"{owner}: tags={ascii(given)[:80]} is one text, not several. Write tags=[...].")
    tags = tuple(dict.fromkeys(checked_text(tag, "tags", owner) for tag in given))
    if len(tags) > MOST_TAGS:
        raise InvalidInput(f"{owner}: {len(tags)} tags; {MOST_TAGS} are the most. Use fewer, or put it into the input.")
    return tags or None


def due_of_run(given: StartOptions, owner: str) -> tuple[float | None, datetime | None]:
    """In how many seconds, or when; neither is at once. Raises ``InvalidInput`` and ``ContradictoryOptions``."""
    if given.run_at is not None and given.delay is not None:
        raise ContradictoryOptions(f"{owner}: run_at= and delay= both say when. Pass one of them.")
    if given.run_at is not None:
        return None, _moment(given.run_at, owner)
    if given.delay is None:
        return None, None
    seconds = given.delay.total_seconds() if isinstance(given.delay, timedelta) else given.delay
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_DELAY:  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
        raise InvalidInput(
            f"{owner}: delay={ascii(given.delay)[:80]}: a delay is a number of seconds from 0 to ten years, or a "
            "timedelta; delay=0 is now."
        )
    return float(seconds) or None, None


def _moment(moment: Any, owner: str) -> datetime:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidInput(
            f"{owner}: run_at={ascii(str(moment))[:80]} has no time zone. Pass an aware datetime, e.g. "
            "datetime.now(UTC) + timedelta(days=1); for seconds from now there is delay=."
        )
    try:
        at = moment.astimezone(UTC)
    except OverflowError:
        at = None
    if at is None or (at - datetime.now(UTC)).total_seconds() > LONGEST_DELAY:
        raise InvalidInput(
            f"{owner}: run_at={ascii(str(moment))[:80]} is more than ten years away. Pass a nearer time."
        )
    return at


def _checked_priority(priority: Any, owner: str) -> int:
    if type(priority) is not int or not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidInput(
            f"{owner}: priority={ascii(priority)[:80]}: it is a whole number from {LOWEST_PRIORITY:,} to "
            f"{HIGHEST_PRIORITY:,}; higher ones come first."
        )
    return priority
