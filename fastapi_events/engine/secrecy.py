"""Keeping what is secret in an event out of what is kept and logged of its failed attempts."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from dataclasses import replace

from fastapi_events.engine.item import Item
from fastapi_events.engine.item_list import ItemList
from fastapi_events.engine.run import Run
from fastapi_events.model.event import options_of
from fastapi_events.model.outcome import Failure, Outcome
from fastapi_events.model.registry import Registry
from fastapi_events.model.secrets import secret_values, without_values

logger = logging.getLogger("fastapi_events")

WITHHELD = "not shown: what is secret in the event could not be told, see the log"


def discreet(outcome: Outcome, run: Run, registry: Registry) -> Outcome:
    """The outcome with the values of the event's secret fields hidden, wherever an error quotes them.

    Total: where it cannot be told what is secret, nothing of what an error says is shown.
    """
    if outcome.failure is None and outcome.note is None:
        return outcome
    try:
        return _hidden(outcome, run, registry)
    except BaseException as error:  # noqa: BLE001 - a defect of ours, which must not end an attempt, nor show anything
        return _withheld(outcome, run, error)


def _hidden(outcome: Outcome, run: Run, registry: Registry) -> Outcome:
    values = _secrets(run, registry)
    if not values:
        return outcome
    note = outcome.note and without_values(outcome.note, values)
    return replace(outcome, note=note, failure=outcome.failure and _without(outcome.failure, values))


def _withheld(outcome: Outcome, run: Run, error: BaseException) -> Outcome:
    where = "".join(traceback.format_tb(error.__traceback__))  # its frames alone: a message may quote the event
    logger.error(
        "handler %s: the secrets of %s %s could not be looked for (%s); the error of its attempt is not shown\n%s",
        run.handler.id, run.item.name, run.item.id, type(error).__qualname__, where,
    )  # fmt: skip
    what = outcome.failure and Failure(outcome.failure.error_type, WITHHELD, "")
    return replace(outcome, note=outcome.note and WITHHELD, failure=what)


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
        with suppress(BaseException):  # an upcaster may raise anything
            texts.append(item.versions.text_for(options, registry.upcasters))
    return {value for text in texts for value in secret_values(text, place)}


def _without(what: Failure, values: list[str]) -> Failure:
    return Failure(what.error_type, without_values(what.message, values), without_values(what.traceback, values))
