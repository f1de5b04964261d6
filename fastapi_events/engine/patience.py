"""Recording results in spite of an infrastructure that is away for a moment: what is not settled is redelivered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi_events.engine.infrastructure import is_infrastructure

PAUSES = (0.05, 0.5, 2.0)
"""Seconds between tries to settle what has been handled: worth more than one, since unsettled means redelivered."""

T = TypeVar("T")


async def patiently(settle: Callable[[], Awaitable[T]]) -> T:
    """Call it until the infrastructure lets it through; raises what the last try raises, and anything else at once."""
    for pause in PAUSES:
        try:
            return await settle()
        except Exception as error:
            if not is_infrastructure(error):
                raise
            await asyncio.sleep(pause)
    return await settle()
