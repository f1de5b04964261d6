"""Runs of the restocking job, read through the library's JSON API, held against what is on the shelves."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Set
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from example_app.composition import events
from example_app.inventory.module import restock

RUNS = f"{events.prefix}/api/runs"


@dataclass(frozen=True)
class Restocks:
    """The restocking runs of this demonstration and their states, and those that an event has started."""

    states: dict[UUID, str]
    triggered: frozenset[UUID]


class RestockHistory:
    """Reads them; those that were there before are left out."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._before: Set[UUID] = frozenset()

    async def begin(self) -> None:
        """Leave out what is there already: the database may be an old one."""
        self._before = frozenset((await self.read()).states)

    async def read(self) -> Restocks:
        """As they are now."""
        runs = [run async for run in self._runs() if UUID(run["id"]) not in self._before]
        return Restocks(
            states={UUID(run["id"]): run["state"] for run in runs},
            triggered=frozenset(UUID(run["id"]) for run in runs if run["source"] == "event"),
        )

    async def _runs(self) -> AsyncIterator[dict[str, Any]]:
        cursor: dict[str, str] = {}
        while True:
            where = {"filter": f"job:{restock.name}", "limit": "100", **cursor}
            response = await self._client.get(RUNS, params=where)
            page: dict[str, Any] = response.raise_for_status().json()
            for run in page["runs"]:
                yield run
            if page["older"] is None:
                return
            cursor = {"cursor": page["older"]}


def broken_restocks(restocks: Restocks, low: int, received: Counter[UUID]) -> Iterator[str]:
    """Every invariant that does not hold. ``received``: how often goods came in for a run."""
    if len(restocks.triggered) != low:
        yield f"articles ran low {low} times, but that started {len(restocks.triggered)} restocks"
    for run, state in restocks.states.items():
        if state != "completed":
            yield f"restock {run} is {state}, not completed"
        if (times := received[run]) != (state == "completed"):
            yield f"restock {run} is {state}, and its goods came in {times} times"
