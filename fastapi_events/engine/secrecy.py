"""Keeping what is secret in an event out of what is kept and logged of its failed attempts."""

from __future__ import annotations

from dataclasses import replace

from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Failure, Outcome
from fastapi_events.model.registry import Registry
from fastapi_events.model.secrets import secret_values, without_values


def discreet(outcome: Outcome, run: Run, registry: Registry) -> Outcome:
    """The outcome with the values of the event's secret fields hidden, wherever an error quotes them."""
    if outcome.failure is None and outcome.note is None:
        return outcome
    item = run.item
    model = run.handler.declaration.event_class or registry.class_of(item.name, item.version)
    values = secret_values(item.row["payload"], (model,) if model else ())
    if not values:
        return outcome
    note = outcome.note and without_values(outcome.note, values)
    return replace(outcome, note=note, failure=outcome.failure and _without(outcome.failure, values))


def _without(what: Failure, values: list[str]) -> Failure:
    return Failure(what.error_type, without_values(what.message, values), without_values(what.traceback, values))
