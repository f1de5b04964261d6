"""What a flush changes in the columns of an object, by SQLAlchemy's own account of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy import inspect as inspected
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import History
from sqlalchemy.orm.attributes import get_history as history_of
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE

from fastapi_events.api.publishing.changes import Values


def old_values(mapper: Mapper[Any], connection: Connection, target: object, ignored: Collection[str]) -> dict[str, Any]:
    """The values that an UPDATE about to be sent replaces, by attribute.

    Those that were set on an object without having been loaded are read now, and their row is locked, as the UPDATE
    is about to do.
    """
    old: dict[str, Any] = {}
    unknown: list[str] = []
    for name in columns_of(mapper, ignored):
        history = _history(target, name)
        if history.deleted:
            old[name] = history.deleted[0]
        elif history.added:
            unknown.append(name)
    if unknown:
        old.update(_read(mapper, connection, target, unknown))
    return old


def differences(mapper: Mapper[Any], target: object, old: Mapping[str, Any], ignored: Collection[str]) -> Values:
    """What an UPDATE has changed: those values, and what listeners and column defaults have set since."""
    found = dict(old)
    for name in columns_of(mapper, ignored):
        if name not in found and (history := _history(target, name)).deleted:
            found[name] = history.deleted[0]
    return net(mapper, {name: (before, getattr(target, name)) for name, before in found.items()})


def net(mapper: Mapper[Any], values: Values) -> Values:
    """Without what is as it was."""
    return {
        name: (before, after)
        for name, (before, after) in values.items()
        if not _same(mapper.columns[name].type, before, after)
    }


def columns_of(mapper: Mapper[Any], ignored: Collection[str] = ()) -> list[str]:
    """The attributes that are columns."""
    return [str(name) for name, _ in mapper.columns.items() if name not in ignored]


def _same(kind: Any, before: Any, after: Any) -> bool:
    """As the column's type compares: an array's own ``==`` may give no truth."""
    return before is after or (before is not None and after is not None and bool(kind.compare_values(before, after)))


def _read(mapper: Mapper[Any], connection: Connection, target: object, names: Collection[str]) -> Mapping[str, Any]:
    columns = [getattr(mapper.class_, name) for name in names]
    identity = inspected(target, raiseerr=True).identity or ()
    here = [column == value for column, value in zip(mapper.primary_key, identity, strict=True)]
    row = connection.execute(select(*columns).where(*here).with_for_update(key_share=True)).one_or_none()
    return {} if row is None else dict(zip(names, row, strict=True))


def _history(target: object, name: str) -> History:
    """Without loading anything."""
    return history_of(target, name, passive=PASSIVE_NO_INITIALIZE)
