"""Keeping what is secret in an event out of what is kept and logged of its failed attempts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from fastapi_events.engine.item import Item
from fastapi_events.engine.item_list import ItemList
from fastapi_events.engine.run import Run
from fastapi_events.engine.stored_versions import Unreadable
from fastapi_events.model.event import options_of
from fastapi_events.model.outcome import Failure, Outcome
from fastapi_events.model.registry import Registry
from fastapi_events.model.secrets import secret_values, without_values


def discreet(outcome: Outcome, run: Run, registry: Registry) -> Outcome:
    """The outcome with the values of the event's secret fields hidden, wherever an error quotes them."""
    if outcome.failure is None and outcome.note is None:
        return outcome
    values = _secrets(run, registry)
    if not values:
        return outcome
    note = outcome.note and without_values(outcome.note, values)
    return replace(outcome, note=note, failure=outcome.failure and _without(outcome.failure, values))


def _secrets(run: Run, registry: Registry) -> list[str]:
    """What is secret in the events of an attempt, the longest first."""
    items = run.item.all_items if isinstance(run.item, ItemList) else (run.item,)
    return sorted({value for item in items for value in _secrets_in(item, run, registry)}, key=len, reverse=True)


def _secrets_in(item: Item, run: Run, registry: Registry) -> set[str]:
    """What is secret in one event, as it was stored and as the handler takes it."""
    wanted = item.class_for(run.handler, registry)
    known = registry.classes_of(item.name)
    place = tuple(known) if wanted is None or wanted in known else (wanted, *known)
    texts = [item.row["payload"]]
    options = options_of(wanted) if wanted else None
    if options is not None and options.version != item.version:
        with suppress(Unreadable):
            texts.append(item.versions.text_for(options, registry.upcasters))
    return {value for text in texts for value in secret_values(text, place)}


def _without(what: Failure, values: list[str]) -> Failure:
    return Failure(what.error_type, without_values(what.message, values), without_values(what.traceback, values))
