"""Two tenants with everything that an operator could see of them, and an application with the operators' routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel

from fastapi_events import Actor, Event, Events, Job, JobContext, Module, Permission, Retry
from fastapi_events.model.context import flowing
from tests.delivery.stage import Stage

OWN, FOREIGN = "acme", "nordwind"
OPEN = {"/events/health", "/events/health/ready", "/events/dashboard/static/{version}/{name}"}
FLEET = {
    "/events/api/broadcasts", "/events/api/workers", "/events/dashboard/workers", "/events/api/pause",
    "/events/api/resume", "/events/api/breakers/reset", "/events/dashboard/gates/{act}", "/events/api/pools",
    "/events/api/jobs/pause", "/events/api/jobs/resume", "/events/dashboard/jobs/confirm",
    "/events/dashboard/jobs/pause", "/events/dashboard/pools/confirm", "/events/dashboard/pools/set",
    "/events/dashboard/pools/reset", "/events/api/pools/{name}/set", "/events/api/pools/{name}/reset",
    "/events/dashboard/jobs/resume", "/events/dashboard/schedules", "/events/dashboard/schedules/{schedule_id}",
    "/events/dashboard/schedules/{schedule_id}/confirm", "/events/dashboard/schedules/{schedule_id}/change",
    "/events/api/schedules", "/events/api/schedules/{schedule_id}", "/events/api/schedules/pause",
    "/events/api/schedules/resume", "/events/api/schedules/run",
}  # fmt: skip
"""Pages about processes, and what holds for everybody's events: not for people of some tenants."""


class Billed(Event, name="shop.invoice.billed", aggregate_id="invoice"):
    """An event that says whose it is in every part of it."""

    invoice: str
    text: str
    fails: bool = True


class Bill(BaseModel):
    """What a run is given; it says whose it is too."""

    text: str


@dataclass
class Tenant:
    """What there is of one tenant; ``canary`` is in every text of its."""

    name: str
    events: list[UUID] = field(default_factory=list)
    dead: list[UUID] = field(default_factory=list)
    scheduled: list[UUID] = field(default_factory=list)
    replays: list[UUID] = field(default_factory=list)
    runs: list[UUID] = field(default_factory=list)

    @property
    def canary(self) -> str:
        return f"{self.name}-canary"


@dataclass
class Ground:
    """An instance with two tenants, and clients by who asks."""

    stage: Stage
    events: Events
    app: FastAPI
    own: Tenant
    foreign: Tenant

    def client(self, tenants: str = OWN) -> httpx.AsyncClient:
        """As an actor of these tenants (separated by commas); ``*`` is staff, ``?`` says nothing of tenants."""
        headers = {"Sec-Fetch-Site": "same-origin", "X-Tenants": tenants}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://testserver", headers=headers)

    async def states(self) -> dict[UUID, str]:
        """Of the deliveries, and of the runs with what was asked of them."""
        rows = await self.stage.rows(
            "SELECT id, state FROM events.delivery UNION ALL SELECT run_id, state::text || coalesce(cancel_reason, '') "
            "FROM events.run_queue UNION ALL SELECT run_id, state FROM events.run_end"
        )
        return {row["id"]: row["state"] for row in rows}

    async def waiting_for_their_time(self) -> set[UUID]:
        return {row["id"] for row in await self.stage.rows("SELECT id FROM events.scheduled_event")}

    async def actions(self) -> int:
        return int(await self.stage.value("SELECT count(*) FROM events.operator_action"))


def by_header(request: Request) -> Actor:
    given = request.headers.get("x-tenants")
    if given is None:
        raise HTTPException(401)
    everything = frozenset(Permission)
    if given == "?":
        return Actor("who@shop.example", "", everything)
    tenants = None if given == "*" else frozenset(filter(None, given.split(",")))
    return Actor("ops@shop.example", "", everything, tenants)


async def two_tenants(stage: Stage) -> Ground:
    """Both have dead letters of one cause, something that waits, a conversation, and what operators did."""
    module = Module("shop")

    @module.on(Billed, retry=Retry(max_attempts=1))
    async def charge(event: Billed) -> None:
        if event.fails:
            raise RuntimeError(f"no money: {event.text}")

    @module.job("shop.bill", retry=Retry(max_attempts=1), scope=lambda bill: ("invoice", bill.text))
    async def bill(job: JobContext[Bill]) -> None:
        raise RuntimeError(f"no money: {job.input.text}")

    events = stage.make(module, multi_tenant=True)
    events.authorize = by_header
    await events.start(drains=False)
    app = FastAPI()
    app.include_router(events.router)
    app.state.fastapi_events = events
    ground = Ground(stage, events, app, Tenant(OWN), Tenant(FOREIGN))
    for tenant in (ground.own, ground.foreign):
        await _fill(ground, tenant, bill)
    return ground


async def _fill(ground: Ground, tenant: Tenant, bill: Job[Bill, None]) -> None:
    text, events = tenant.canary, ground.events
    with flowing(tenant_id=tenant.name, actor=f"{text}-actor"):
        first = await events.publish(
            Billed(invoice=f"{text}-1", text=text), headers={"x-note": f"{text}-header"}, detached=True
        )
        tenant.events.append(first.event_id)
        for number in (1, 2, 3):  # the first waits behind it; the others die, and one of them is discarded
            published = await events.publish(
                Billed(invoice=f"{text}-{number}", text=text), correlation_id=first.event_id, detached=True
            )
            tenant.events.append(published.event_id)
        for number in (1, 2):
            later = await events.publish(
                Billed(invoice=f"{text}-later", text=text), delay=3600 * number, headers={"x-note": f"{text}-header"},
                detached=True,
            )  # fmt: skip
            tenant.scheduled.append(later.event_id)
        for delay in (None, None, 3600):
            run = await events.jobs.start(bill, Bill(text=text), delay=delay, tags=[f"{text}-tag"])
            tenant.runs.append(run.run)
    await events.operations.runs.cancel(tenant.runs[:1], actor=f"{text}-clerk", reason=f"{text}-reason")
    await events.drain_once()
    rows = await ground.stage.rows(
        "INSERT INTO events.replay (id, handler_id, state, from_position, to_position, tenants, total, created_by, "
        "reason) SELECT gen_random_uuid(), min(id), 'done', 0, 9, ARRAY[$1::text], 9, $2 || '-clerk', $2 "
        "FROM events.handler RETURNING id", tenant.name, text,
    )  # fmt: skip
    tenant.replays += [row["id"] for row in rows]
    dead = await ground.stage.rows(
        "SELECT id FROM events.delivery WHERE state = 'dead' AND tenant_id = $1 ORDER BY position", tenant.name
    )
    tenant.dead += [row["id"] for row in dead]
    assert len(tenant.dead) == 3
    await events.operations.discard(tenant.dead[2:], actor=f"{text}-clerk", reason=f"{text}-reason")


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every guarded route, read from the application: none can be forgotten."""
    for route in iter_route_contexts(app.routes):
        path: str = getattr(route, "path", "") or ""
        if path.startswith("/events") and path not in OPEN:
            for method in getattr(route, "methods", None) or ():
                yield method, path


def filled(path: str, tenant: Tenant) -> str:
    """The path with ids of a tenant; a parameter that is new has to be told whose ids it takes."""
    values: dict[str, Any] = {
        "event_id": tenant.events[0], "delivery_id": tenant.dead[0], "replay_id": tenant.replays[0], "act": "pause",
        "run_id": tenant.runs[0], "schedule_id": 1, "name": "batch",
    }  # fmt: skip
    return re.sub(r"{(\w+)}", lambda match: str(values[match[1]]), path)
