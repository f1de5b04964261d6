"""How an instance is doing, for probes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from fastapi_events.api.operator_port import Health

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events

Drain = Literal["running", "standalone", "disabled", "stopped"]


async def health_of(events: Events) -> Health:
    """Whether this process can do its work; asks the database one bounded question."""
    if (on_memory := events.on_memory) is not None:
        return on_memory.health()
    runtime = events.runtime
    problems: list[str] = []
    age: float | None = None
    try:
        async with asyncio.timeout(3):
            age = await events.observe.oldest_pending_age()
    except Exception as error:  # noqa: BLE001 - a probe reports, it does not raise
        problems.append(f"the database does not answer ({type(error).__name__})")
    loops = [*runtime.handling, runtime.scheduler]
    failing = [f"{loop.name}: {loop.trouble}" for loop in loops if loop and loop.trouble]
    problems += failing
    drain: Drain = "disabled" if not events.settings.enabled else "running" if runtime.drains else "standalone"
    return Health(schema="ok", drain=drain, wake_up=runtime.wake_up, oldest_pending_age=age, problems=tuple(problems))
