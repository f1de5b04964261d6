"""The database behind an application, for a command that reads or acts: no service is started."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from fastapi_events.cli.database_problems import address_of, database_problems
from fastapi_events.plugin.operating import Operators


@contextlib.asynccontextmanager
async def operators_of(events: Any) -> AsyncGenerator[Operators]:
    """Readings and actions; raises ``DatabaseProblem`` for what people can mend."""
    with database_problems(address_of(events.settings, events)):
        async with events.connect() as operators:
            yield operators
