"""What the library says of itself, read through its JSON API as any client would."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from example_app.composition import events

LOW = "inventory.stock.low"
HISTORY = f"{events.prefix}/api/events"
STILL_ARRIVING = timedelta(seconds=5)
"""Events become visible when their transaction commits, so the newest part of the history may still gain some."""


@dataclass(frozen=True)
class Figures:
    """What happened to the events of this run, and which orders have a dead letter; ``low``: articles that ran low."""

    published: int = 0
    handled: int = 0
    retried: int = 0
    dead: int = 0
    low: int = 0
    stuck: frozenset[UUID] = frozenset()


class History:
    """This run's part of the history, counted again and again without reading the settled part twice."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._start = self._settled_to = 0
        self._settled = Figures()

    async def begin(self) -> None:
        """Leave out what is in the history already: the database may be an old one."""
        newest = await self._page(limit=1)
        self._start = self._settled_to = max((event["position"] for event in newest["events"]), default=0)

    async def read(self) -> Figures:
        """The figures as they are now."""
        figures, all_settled = self._settled, True
        async for event in self._events_after(self._settled_to):
            figures = _with(figures, event)
            all_settled = all_settled and _is_settled(event)
            if all_settled:
                self._settled, self._settled_to = figures, event["position"]
        dead = [event async for event in self._events_after(self._start, filter="status:dead")]
        return Figures(
            published=figures.published,
            handled=figures.handled,
            retried=figures.retried,
            low=figures.low,
            dead=sum(handler["state"] == "dead" for event in dead for handler in event["handlers"]),
            stuck=frozenset(UUID(event["aggregate_id"]) for event in dead if event["aggregate"] == "order"),
        )

    async def _events_after(self, position: int | None, **where: str) -> AsyncIterator[dict[str, Any]]:
        """Events in the order of their positions."""
        while position is not None:
            page = await self._page(after=position, limit=100, **where)
            for event in reversed(page["events"]):
                yield event
            position = page["newer"]

    async def _page(self, **parameters: Any) -> dict[str, Any]:
        response = await self._client.get(HISTORY, params=parameters)
        page: dict[str, Any] = response.raise_for_status().json()
        return page


def _with(figures: Figures, event: dict[str, Any]) -> Figures:
    handlers = event["handlers"]
    return Figures(
        published=figures.published + 1,
        handled=figures.handled + sum(handler["state"] == "done" for handler in handlers),
        retried=figures.retried + sum(max(0, handler["attempts"] - 1) for handler in handlers),
        low=figures.low + (event["name"] == LOW),
    )


def _is_settled(event: dict[str, Any]) -> bool:
    if event["status"] in ("pending", "waiting", "running"):
        return False
    return datetime.fromisoformat(event["published_at"]) < datetime.now(UTC) - STILL_ARRIVING
