"""Triggers: the events that start a job, and what its input is made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi_events.errors import ContradictoryOptions, DuplicateTrigger, InvalidJob
from fastapi_events.model.broadcast import NEVER_HEARD, check_trigger
from fastapi_events.model.event import Event, options_of
from fastapi_events.model.unknown_options import names_unknown

# Covariant, though a function takes it, so that checkers find what triggers on two events have in common.
E_co = TypeVar("E_co", bound=Event, covariant=True)
Made_co = TypeVar("Made_co", covariant=True)
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")


class Makes(Generic[Made_co]):
    """What makes inputs, of whatever event: what checkers are to look at in a list of triggers."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False)
class Trigger(Makes[Made_co], Generic[E_co, Made_co]):
    """Starts a run for each event of a class, with the input that ``map`` makes of it.

    ``when`` says of an event whether it starts one; if not, that it was skipped is recorded. Both are plain functions,
    called with the event: pure and quick, since the event waits for them. One that raises is retried and ends as a dead
    letter, as a handler. An event starts at most one run by one trigger.

    ``id`` (default: the job's name, a dot and the event's) is the trigger's identity in the database: two triggers of
    one job on one event need their own.

    Example::

        Trigger(StockLow, map=lambda event: Restock(sku=event.sku), when=lambda event: event.left == 0)

    Raises ``AuditEventTriggerError`` for an audit event, ``InvalidJob``, ``UnknownOption`` and
    ``ContradictoryOptions``.
    """

    event: type[E_co]
    map: Callable[[E_co], Made_co]
    when: Callable[[E_co], bool] | None
    id: str | None

    @names_unknown
    def __init__(
        self,
        event: type[E_co],
        map: Callable[[E_co], Made_co],  # noqa: A002 - the field's word; nobody needs the builtin here
        when: Callable[[E_co], bool] | None = None,
        id: str | None = None,  # noqa: A002
    ) -> None:
        owner = _checked_event(event)
        _check_function(map, "map", owner, "lambda event: Restock(sku=event.sku)")
        if when is not None:
            _check_function(when, "when", owner, "lambda event: event.left == 0")
        if id is not None:
            _check_id(id, owner)
        object.__setattr__(self, "event", event)
        object.__setattr__(self, "map", map)
        object.__setattr__(self, "when", when)
        object.__setattr__(self, "id", id)

    def id_for(self, job: str) -> str:
        """Its id as a trigger of this job."""
        return self.id or f"{job}.{self.event_name}"

    @property
    def event_name(self) -> str:
        """The name of the event that it hears."""
        options = options_of(self.event)
        return options.name if options else ""


def checked_triggers(triggers: Any, job: str, owner: str) -> tuple[Trigger[Any, Any], ...]:
    """The triggers of one job; raises for what is none, and ``DuplicateTrigger`` for two of one id."""
    if _is_no_list(triggers):
        raise InvalidJob(
            f"{owner}: triggers= takes a list, not {_shown(triggers)}. Write triggers=[Trigger(OrderPlaced, map=...)]."
        )
    ids: dict[str, Trigger[Any, Any]] = {}
    for trigger in triggers:
        if not _is_trigger(trigger):
            raise InvalidJob(
                f"{owner}: triggers=[{ascii(trigger)[:80]}] is not a trigger. Write triggers=[Trigger(OrderPlaced, "
                "map=...)]."
            )
        _add(trigger, ids, job, owner)
    return tuple(ids.values())


def _shown(triggers: Any) -> str:
    if _is_trigger(triggers):
        return f"one trigger, Trigger({triggers.event.__qualname__}, ...). Put it in brackets"
    return ascii(triggers)[:80]


def _is_no_list(triggers: object) -> bool:
    return isinstance(triggers, (str, bytes, type)) or not hasattr(triggers, "__iter__")


def _is_trigger(trigger: object) -> bool:
    return isinstance(trigger, Trigger)


def _add(trigger: Trigger[Any, Any], ids: dict[str, Trigger[Any, Any]], job: str, owner: str) -> None:
    trigger_id = trigger.id_for(job)
    if not _ID.match(trigger_id):
        raise InvalidJob(
            f"{owner}: the id of its trigger on {trigger.event.__qualname__}, {trigger_id!r}, is longer than 200 "
            "signs. Give it a shorter one: Trigger(..., id='orders.restock')."
        )
    if trigger_id in ids:
        raise DuplicateTrigger(
            f"{owner}: two triggers have the id {trigger_id!r} (on {ids[trigger_id].event.__qualname__} and "
            f"{trigger.event.__qualname__}), and a run would be started by one of them only. Join them, or give each "
            "an id= of its own."
        )
    ids[trigger_id] = trigger


def _checked_event(event: Any) -> str:
    """What errors call a trigger on this event, which can start something."""
    if not (inspect.isclass(event) and issubclass(event, Event)):
        raise InvalidJob(
            f"Trigger({ascii(event)[:80]}): a trigger takes an Event class. Write Trigger(OrderPlaced, map=...)."
        )
    owner = f"Trigger({event.__qualname__})"
    if options_of(event) is None:
        raise InvalidJob(f"{owner}: {event.__qualname__} is abstract and never published. Give the class a name=.")
    check_trigger(event, owner=owner, mend=NEVER_HEARD)
    return owner


def _check_function(function: Any, name: str, owner: str, example: str) -> None:
    if not callable(function):
        raise ContradictoryOptions(
            f"{owner}: {name}={ascii(function)[:80]} is not a function of the event. Write {name}={example}."
        )
    called: list[Any] = [function, type(function).__call__]
    if any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in called):
        raise ContradictoryOptions(
            f"{owner}: {name}= is async. It is called while the event is settled and must not wait for anything: write "
            "a plain function, and do what takes time in the job."
        )


def _check_id(trigger_id: object, owner: str) -> None:
    if not isinstance(trigger_id, str) or not _ID.match(trigger_id):
        raise ContradictoryOptions(
            f"{owner}: id={ascii(trigger_id)[:80]}: an id is 1 to 200 letters, digits and the signs '_.:-'. Write e.g. "
            "id='inventory.restock.low'."
        )
