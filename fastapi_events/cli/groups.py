"""``groups list`` and ``groups remove``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi_events.api.observe.groups import GroupView
from fastapi_events.cli.asking import agreed
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.moments import ago
from fastapi_events.cli.terminal import Column, clean, print_json, print_table, say


class ListedGroup(GroupView):
    """A group with when the oldest event was published that is kept for it beyond ``history_retention``, if one is."""

    kept_since: datetime | None


COLUMNS = (
    Column("GROUP", lambda g: g.name, whole=True),
    Column("HANDLERS", lambda g: g.handlers, right=True),
    Column("LIVE", lambda g: g.processes, right=True),
    Column("PAUSED", lambda g: ", ".join(g.paused_lanes) or None),
    Column("KEPT FOR IT", lambda g: ago(g.kept_since), right=True),
    Column("CREATED", lambda g: ago(g.created_at), wide=True, right=True),
    Column("REMOVED", lambda g: ago(g.removed_at), wide=True, right=True),
)


async def list_groups(events: Any, *, limit: int, as_json: bool) -> int:
    """The groups of every service."""
    async with operators_of(events) as operators:
        found, log = await operators.observe.groups(), await operators.observe.log()
    since = {kept.group: kept.published_at for kept in log.kept_for}
    listed = [
        ListedGroup.model_validate(group.model_dump() | {"kept_since": since.get(group.name)})
        for group in found[:limit]
    ]
    if as_json:
        print_json(listed)
    else:
        print_table(COLUMNS, listed, empty="No process has registered a group yet.")
    return 0


async def remove_group(events: Any, name: str, *, actor: str, reason: str, yes: bool, as_json: bool) -> int:
    """Remove a group once that has been confirmed."""
    async with operators_of(events) as operators:
        if not agreed(f"Remove the group {name} for good? What waits for its handlers is given up.", yes=yes):
            return 1
        await operators.operations.remove_group(name, actor=actor, reason=reason)
    if as_json:
        print_json({"group": name, "removed": True})
        return 0
    say(clean(f"{name} is removed. What waits for it is given up in parts, by retention's next rounds."))
    return 0
