"""``schedules list``, ``pause``, ``resume`` and ``run``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from fastapi_events.api.observe.job_schedules import ScheduleView
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.declared import declared_registry, shortened
from fastapi_events.cli.moments import ago, exact
from fastapi_events.cli.terminal import Column, clean, print_json, print_table, say
from fastapi_events.model.job_schedule import JobSchedule

Act = Literal["pause", "resume", "run"]


class ListedSchedule(ScheduleView):
    """A schedule with what this application adds: ``where`` it is declared here, and whether by another rule."""

    where: str | None
    differs: bool


@dataclass(frozen=True, slots=True)
class ScheduleWish:
    """What is to be done to a schedule, why and by whom."""

    act: Act
    schedule: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScheduleDone:
    """What became of it: nothing ``changed`` if it was so already; the ``run`` that was started."""

    act: Act
    schedule: str
    changed: bool
    run: UUID | None = None


COLUMNS = (
    Column("SCHEDULE", lambda s: s.name, whole=True),
    Column("STATUS", lambda s: s.status + (", other rule in this code" if s.differs else "")),
    Column("RULE", lambda s: s.spec if s.tz == "UTC" else f"{s.spec} {s.tz}"),
    Column("NEXT", lambda s: None if s.status in ("paused", "retired") else exact(s.next_at)),
    Column("LAST", lambda s: s.last_tick_at and ago(s.last_tick_at), right=True),
    Column("JOB", lambda s: s.job, wide=True),
    Column("MISSED", lambda s: s.missed, wide=True),
    Column("WHERE", lambda s: s.where and shortened(s.where), wide=True),
)


async def list_schedules(events: Any, *, limit: int, as_json: bool) -> int:
    """The group's schedules, with their rules as they hold now."""
    async with operators_of(events) as operators:
        found = await operators.observe.schedules()
    declared = declared_registry(events).schedules
    listed = [_listed(view, declared.get(view.name)) for view in found[:limit]]
    if as_json:
        print_json({"schedules": listed})
        return 0
    print_table(COLUMNS, listed, empty=f"No process of the group {events.group!r} has registered a schedule yet.")
    for one in listed:
        if one.last_note is not None:
            say(clean(f"{one.name}: its last tick has started no run: {one.last_note}."))
    new = sorted(declared.keys() - {view.name for view in found})
    if new:
        say(clean(f"In this code, and not registered by any process yet: {', '.join(new)}."))
    return 0


def _listed(view: ScheduleView, declared: JobSchedule | None) -> ListedSchedule:
    differs = declared is not None and (declared.rule.spec, declared.rule.tz) != (view.spec, view.tz)
    more = {"where": declared.where if declared else None, "differs": differs}
    return ListedSchedule.model_validate(view.model_dump() | more)


async def act_on_schedule(events: Any, wish: ScheduleWish, *, as_json: bool) -> int:
    """Do it, and say what has become of it."""
    async with operators_of(events) as operators:
        operations, record = operators.operations, {"actor": wish.actor, "reason": wish.reason}
        if wish.act == "run":
            run = await operations.run_schedule_now(wish.schedule, **record)
            done = ScheduleDone(wish.act, wish.schedule, changed=True, run=run)
        else:
            act = operations.pause_schedule if wish.act == "pause" else operations.resume_schedule
            done = ScheduleDone(wish.act, wish.schedule, changed=await act(wish.schedule, **record))
    if as_json:
        print_json(done)
    else:
        say(clean(f"{wish.schedule} of the group {events.group}: {_told(done)}."))
    return 0


def _told(done: ScheduleDone) -> str:
    if done.run is not None:
        return f"the run {done.run} is started"
    if done.act == "pause":
        return "paused" if done.changed else "nothing was changed, it was paused already"
    return "resumed" if done.changed else "nothing was changed, it was not paused"
