"""Customers: orders at an even rate, some of them refused on purpose."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from example_app.inventory.catalogue import ARTICLES

REPEATED = 0.1
"""Share of orders that are sent twice; the second is refused, and must leave nothing behind."""


@dataclass
class Traffic:
    """What was sent, and what the shop said to it. ``run`` tells this run's orders from those of earlier ones."""

    run: str
    accepted: set[UUID] = field(default_factory=set[UUID])
    refused: int = 0
    failures: list[str] = field(default_factory=list[str])

    async def flow(self, client: httpx.AsyncClient, closing: asyncio.Event, *, per_second: float) -> None:
        """Send orders until ``closing`` is set. What has been asked is answered: no request is broken off."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        for order in self._orders():
            await self._send(client, order)
            next_at = max(next_at + 1 / per_second, loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_at):
                    await closing.wait()
            if closing.is_set():
                return

    def _orders(self) -> Iterator[dict[str, Any]]:
        customer = random.Random(self.run)
        number = 0
        while True:
            number += 1
            order = {
                "reference": f"{self.run}-{number}",
                "sku": customer.choices(list(ARTICLES), weights=[4, 3, 8, 1])[0],
                "quantity": customer.randint(1, 4),
                "email": f"customer-{number}@example.com",
            }
            yield order
            if customer.random() < REPEATED:
                yield order

    async def _send(self, client: httpx.AsyncClient, order: dict[str, Any]) -> None:
        try:
            response = await client.post("/orders", json=order)
        except httpx.HTTPError as error:
            self.failures.append(f"POST /orders: {error!r}")
            return
        if response.status_code == 201:
            self.accepted.add(UUID(response.json()["id"]))
        elif response.status_code == 409:
            self.refused += 1
        else:
            self.failures.append(f"POST /orders: {response.status_code} {response.text[:200]}")
