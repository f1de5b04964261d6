"""The web application of the publishing proof: rows and events in requests' own sessions, a third rolled back."""

from __future__ import annotations

import asyncio
import functools
import mmap
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated
from uuid import UUID, uuid4

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events import Event, EventPublisher, HandlerSession, Module
from fastapi_events.api.dependencies import publisher_on
from tests.chaos.application import Application
from tests.chaos.options import Options, Twin
from tests.chaos.processes import Main

FATES = (*["commit"] * 6, "error", "rollback", "savepoint")
"""One request in three rolls something back: all of it, or a savepoint with a row and an event of its own."""
AT_ONCE = 16


class Booked(Event, name="chaos.booking.made"):
    """A booking has been made. ``fate`` says what its request was asked to do with it."""

    booking_id: UUID
    fate: str


def desk(app: Application) -> Module:
    """One handler, which notes what it was told."""
    module = Module("desk")

    @module.on(Booked, id="note")
    async def note(event: Booked, session: HandlerSession) -> None:
        query = text("INSERT INTO chaos.booked (booking_id, fate) VALUES (:id, :fate)")
        await session.execute(query, {"id": event.booking_id, "fate": event.fate})

    return module


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """The application's own session per request."""
    async with request.app.state.sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
Publish = Callable[[Event], Awaitable[object]]


async def get_publisher(
    request: Request, publisher: Annotated[EventPublisher, Depends(publisher_on(SessionDep))]
) -> Publish:
    """The product's publisher, or the planted defect: one that publishes in transactions of its own."""
    if request.app.state.twin == "outside":
        return functools.partial(request.app.state.fastapi_events.publish, detached=True)
    return publisher


Publisher = Annotated[Publish, Depends(get_publisher)]


async def book(request: int, fate: str, session: SessionDep, publish: Publisher) -> str:
    """``POST /bookings/{request}?fate=``: what an ordinary endpoint does, and what goes wrong in it."""
    await _book(session, publish, request, fate)
    if fate == "savepoint":
        await _rolled_back_savepoint(session, publish, request)
        await _book(session, publish, request, "after savepoint")
    elif fate == "error":
        await session.flush()
        raise HTTPException(409)
    elif fate == "rollback":
        await session.rollback()
        return "thought better of it"
    await session.commit()
    return "booked"


def web_application(app: Application, twin: Twin = "none") -> FastAPI:
    """An ordinary FastAPI application."""
    web = FastAPI()
    web.state.fastapi_events, web.state.sessions = app.events, app.sessions
    web.state.twin = twin
    web.post("/bookings/{request}")(book)
    return web


async def _book(session: AsyncSession, publish: Publish, request: int, fate: str) -> None:
    booking = uuid4()
    query = text("INSERT INTO chaos.booking VALUES (:id, :request, :fate)")
    await session.execute(query, {"id": booking, "request": request, "fate": fate})
    await publish(Booked(booking_id=booking, fate=fate))


async def _rolled_back_savepoint(session: AsyncSession, publish: Publish, request: int) -> None:
    savepoint = await session.begin_nested()
    await _book(session, publish, request, "in savepoint")
    if random.random() < 0.5:
        async with session.begin_nested():
            await _book(session, publish, request, "in released savepoint inside")
    await savepoint.rollback()


class Tickets:
    """Numbers of requests, drawn by every process that is ever forked: memory shared with the harness."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def drawn(self) -> int:
        """How many have been drawn."""
        return int.from_bytes(self._shared[:8], "little")

    def draw(self) -> int:
        """The next number. One process draws at a time."""
        number = self.drawn
        self._shared[:8] = (number + 1).to_bytes(8, "little")
        return number


def clients(url: str, options: Options, label: str, tickets: Tickets, twin: Twin) -> Main:
    """Serves requests and makes them, until every number has been drawn."""

    async def main() -> None:
        app = Application(url, options, label, desk, pool=2 * AT_ONCE)
        await app.events.start(drains=False)
        transport = httpx.ASGITransport(web_application(app, twin))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            await asyncio.gather(*(_ask(client, options, tickets) for _ in range(AT_ONCE)))
        await app.events.stop()

    return main


async def _ask(client: httpx.AsyncClient, options: Options, tickets: Tickets) -> None:
    while (number := tickets.draw()) < options.requests:
        fate = random.choice(FATES)
        response = await client.post(f"/bookings/{number}", params={"fate": fate})
        if response.status_code != (409 if fate == "error" else 200):
            raise RuntimeError(f"request {number} ({fate}) was answered {response.status_code}: {response.text[:500]}")


def desk_worker(url: str, options: Options, label: str) -> Main:
    """Handles the bookings."""

    async def main() -> None:
        app = Application(url, options, label, desk)
        await app.events.start(drains=True)
        await asyncio.Event().wait()

    return main
