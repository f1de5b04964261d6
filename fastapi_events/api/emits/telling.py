"""Turning what a flush did to rows into events of the session's transaction, one for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import inspect as inspected
from sqlalchemy.orm import Mapper, Session

from fastapi_events.api.emits.differences import differences, net
from fastapi_events.api.emits.emission import CHANGES, Emission
from fastapi_events.api.emits.instance import find_sealer, sealer_of
from fastapi_events.api.publishing.changes import Change, Operation, Values
from fastapi_events.api.publishing.session_events import bind_events, events_of
from fastapi_events.errors import InvalidPayload
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.event import Event
from fastapi_events.model.lane import LaneNumber, Partition


@dataclass(frozen=True, slots=True)
class Note:
    """A row that a flush writes. ``values``: those that an UPDATE replaces, or the content of a deleted row's event."""

    emission: Emission
    operation: Operation
    target: object
    values: Mapping[str, Any]


def tell(session: Session, notes: Sequence[Note]) -> None:
    """Publish into the session what a flush did; events are written when the session commits."""
    events = events_of(session)
    teller = _Teller(session, {} if events is None else events.buffer.changes())
    replaced = _replaced(session, notes)
    for note in notes:
        if note.operation == "created":
            key = _key(note.target, {})
            if (gone := replaced.get(key)) is not None:
                teller.tell(Note(note.emission, "deleted", gone, deleted_values(note.emission, gone)), key, {})
            teller.tell(note, key, {})
        elif note.operation == "deleted":
            teller.tell(note, _key(note.target, {}), {})
        else:
            values = differences(_mapper(note.target), note.target, note.values, note.emission.ignore)
            if values or teller.has_told(note.target):
                teller.tell(note, _key(note.target, values), values)


def deleted_values(emission: Emission, target: object) -> Mapping[str, Any]:
    """What the event of a row that is about to be deleted is made of."""
    event = emission.events.get("deleted")
    return {} if event is None else _values(emission, event, target)


class _Teller:
    """One flush's changes on their way into the session's buffer; ``before`` are those of earlier ones, by key."""

    def __init__(self, session: Session, before: dict[object, Change]) -> None:
        self._session, self._before = session, before

    def has_told(self, target: object) -> bool:
        """Whether an event of the row waits: it is to have the last values, those of ignored columns too."""
        before = self._before.get(_key(target, {}))
        return before is not None and before.told

    def tell(self, note: Note, key: object, values: Values) -> None:
        identity = inspected(note.target, raiseerr=True).key
        previous = self._before.get(identity[:2] if identity else key)
        change = _following(previous, note, key, values)
        outcome = change.outcome
        event = None if outcome is None else note.emission.events.get(outcome)
        owner = type(note.target).__qualname__
        if event is None:
            sealer = find_sealer(self._session)
            if sealer is None:
                return  # whatever comes later of this row is refused, or silent too
            envelope = NOTHING
        else:
            sealer = sealer_of(self._session, owner, event)
            envelope = sealer.seal(_event(event, _content(note, event, change), owner))
            change = replace(change, told=True)
        self._before[key] = change
        bind_events(self._session, sealer.port).changed(self._session, envelope, change)


def _following(previous: Change | None, note: Note, key: object, values: Values) -> Change:
    """The change that stands for this one and those before it in the transaction."""
    if note.operation == "created":
        return Change(key, existed=False, exists=True)
    exists = note.operation == "updated"
    if previous is None or not previous.exists:
        return Change(key, existed=True, exists=exists, values=values)
    merged = {**values}
    for name, (before, after) in previous.values.items():
        merged[name] = (before, values[name][1] if name in values else after)
    return replace(previous, key=key, exists=exists, values=net(_mapper(note.target), merged), told=False)


def _content(note: Note, event: type[Event], change: Change) -> Mapping[str, Any]:
    if change.outcome == "deleted":
        return note.values
    content = _values(note.emission, event, note.target)
    if change.outcome == "updated" and CHANGES in event.model_fields and CHANGES not in content:
        content[CHANGES] = {name: {"from": before, "to": after} for name, (before, after) in change.values.items()}
    return content


def _values(emission: Emission, event: type[Event], target: object) -> dict[str, Any]:
    """The values of an event's fields: what ``map`` says, and attributes for the others."""
    given = {} if emission.map is None else dict(emission.map(target))
    for name in event.model_fields:
        if name not in given and name != CHANGES and (emission.map is None or hasattr(target, name)):
            given[name] = getattr(target, name)
    return given


def _event(event: type[Event], content: Mapping[str, Any], owner: str) -> Event:
    try:
        return event.model_validate(dict(content), by_alias=True, by_name=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "$" + "".join(f".{part}" for part in first["loc"])
        raise InvalidPayload(
            f"A row of {owner} cannot be told of by {event.__qualname__}: {path}: {first['msg']} "
            f"({error.error_count()} problem(s) in all). The field takes other values than the attribute of its "
            "name has: change its type, or say what it is to hold with emits(..., map=...).",
            path=path,
        ) from error


def _replaced(session: Session, notes: Sequence[Note]) -> dict[object, object]:
    """Objects whose row has become that of a new one with the same key: SQLAlchemy sends one UPDATE for both."""
    if not session.deleted or all(note.operation != "created" for note in notes):
        return {}
    told = {id(note.target) for note in notes}
    return {_key(gone, {}): gone for gone in session.deleted if id(gone) not in told}


def _key(target: object, values: Values) -> object:
    """What finds the row in the next flush: its class and primary key, as they are after this one."""
    state, mapper = inspected(target, raiseerr=True), _mapper(target)
    columns = {mapper.get_property_by_column(column).key for column in mapper.primary_key}
    if state.key is not None and not columns.intersection(values):
        return state.key[:2]
    return tuple(mapper.identity_key_from_instance(target)[:2])


def _mapper(target: object) -> Mapper[Any]:
    mapper: Mapper[Any] = inspected(target, raiseerr=True).mapper
    return mapper


NOTHING = Envelope(
    UUID(int=0), False, False, LaneNumber(0), Partition(0), "", 1, None, None, None, None, UUID(int=0), None, None, 0,
    datetime.min.replace(tzinfo=UTC), None, "",
)  # fmt: skip
"""Stands where a row has changed and nothing is to be told of it; it is never written."""
