"""Time passes for what is stored: retries, schedules, leases, ages.

The database's clock decides about all of them, and nobody moves that. So every moment that the schema keeps is moved
back instead, which comes to the same.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from fastapi_events.engine.patience import patiently
from fastapi_events.engine.runtime import Runtime
from fastapi_events.errors import SettingsError
from fastapi_events.store.clock import ClockStore
from fastapi_events.testing.instance import Instance


class TimeMachine:
    """Lets time pass for all that one schema keeps.

    ``instances`` are started ``Events`` objects, which live through that time: they keep their own leases, as
    heartbeats would have seen to. Leases of all others run out, as if their processes had stopped. An attempt that is
    being made does not get older, and the time-out of a handler is not shortened.

    Only for tests: every instance must have ``development`` set (``EVENTS_DEV=1``), else ``SettingsError``; nothing is
    changed then.

    Example::

        await TimeMachine(events).advance(timedelta(minutes=10))
        await events.drain_once()                       # the retry of ten minutes from now
    """

    def __init__(self, *instances: Instance) -> None:
        if not instances:
            raise SettingsError("TimeMachine() needs the started Events object whose database it is about.")
        self._instances = instances

    async def advance(self, by: timedelta | float) -> None:
        """Let so much time pass (a ``timedelta``, or seconds; more than none).

        In one transaction: what is due afterwards is due for everybody. The loops of the instances look at once; those
        of other processes with their next full search, after ``poll_interval`` at most. Moments that events themselves
        tell (``occurred_at``, payloads) stay as they are. Raises ``SettingsError`` or ``NotStarted``.
        """
        span = _checked(by)
        for instance in self._instances:
            if instance.on_memory is None:
                _refuse_in_production(instance)
        runtimes = [instance.runtime for instance in self._instances if instance.on_memory is None]
        for memory in {id(one.on_memory): one.on_memory for one in self._instances if one.on_memory}.values():
            memory.clock.advance(span)
        for runtime in runtimes:
            await runtime.gates.written()
        alive = [runtime.worker for runtime in runtimes]
        for place in {(runtime.database.url, runtime.statements.schema): runtime for runtime in runtimes}.values():
            advance = partial(ClockStore(place.database, place.statements).advance, span, alive)
            # It locks many rows in no particular order, and may be the one that a deadlock is solved by.
            await patiently(advance)
        for runtime in runtimes:
            await _tell(runtime, span.total_seconds())


async def _tell(runtime: Runtime, seconds: float) -> None:
    """What a process keeps in memory of moments is older too, and its loops look everywhere."""
    for handler in runtime.plan.by_number.values():
        handler.failed_at = [moment - seconds for moment in handler.failed_at]
    await runtime.refresh_plan()
    for loop in (runtime.redelivery, runtime.scheduler):
        if loop is not None:
            await loop.recover()
    if runtime.jobs is not None:
        await runtime.jobs.recover()
    runtime.wake.everything()


def _checked(by: timedelta | float) -> timedelta:
    try:
        span = by if isinstance(by, timedelta) else timedelta(seconds=by)
    except (TypeError, ValueError, OverflowError):
        span = timedelta(0)
    if span <= timedelta(0):
        raise SettingsError(f"advance() takes a timedelta, or seconds, above zero, not {by!r}: time does not run back.")
    return span


def _refuse_in_production(instance: Instance) -> None:
    if not instance.settings.development:
        raise SettingsError(
            "The time machine makes everything that is stored look older, leases of other processes included, which is "
            "for tests alone: set development=True (EVENTS_DEV=1) for this Events instance, and never in production."
        )
