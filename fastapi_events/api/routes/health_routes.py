"""Health, for probes: open to everybody, telling nothing but how the process is doing."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from fastapi_events.api.operator_port import Health, OperatorPort
from fastapi_events.errors import EventsError

TIMEOUT = 5.0
"""Seconds that a readiness check may take."""


class LiveAnswer(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class ReadyAnswer(BaseModel):
    """Whether traffic should be sent here, and why not. ``oldest_pending_age`` is in seconds."""

    status: Literal["ready", "not ready"]
    problems: list[str]
    database_schema: str
    drain: str
    wake_up: str
    oldest_pending_age: float | None


class HealthRoutes:
    """``/health`` (the process lives) and ``/health/ready`` (it can do its work)."""

    def __init__(self, port: OperatorPort) -> None:
        self._port = port

    def add_to(self, router: APIRouter) -> None:
        """Add both routes."""
        not_ready: dict[int | str, dict[str, Any]] = {503: {"model": ReadyAnswer, "description": "Not ready"}}
        router.get("/health", name="fastapi_events:health")(self.live)
        router.get("/health/ready", name="fastapi_events:ready", responses=not_ready)(self.ready)

    async def live(self) -> LiveAnswer:
        """Answers 200 while the process can answer at all; asks no database."""
        return LiveAnswer()

    async def ready(self, response: Response) -> ReadyAnswer:
        """Answers 200, or 503 with the reasons, by schema, drain and wake-up."""
        health = await self._health()
        response.status_code = 200 if health.ready else 503
        return ReadyAnswer(
            status="ready" if health.ready else "not ready",
            problems=list(health.problems),
            database_schema=health.schema,
            drain=health.drain,
            wake_up=health.wake_up,
            oldest_pending_age=health.oldest_pending_age,
        )

    async def _health(self) -> Health:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._port.health()
        except TimeoutError:
            problem = f"The check took longer than {TIMEOUT:g} s."
        except (EventsError, OSError) as error:
            problem = str(error)
        return Health(schema="unknown", drain="stopped", wake_up="off", problems=(problem,))
