"""Three endpoints that do the same transaction, and a client that calls them inside the process.

The client speaks ASGI directly: no HTTP library and no socket dilute what the dependency costs.
"""
# Annotations are evaluated at once here: FastAPI could not resolve the local aliases from their names.

from collections.abc import AsyncIterator
from itertools import count
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.ours import Application, OrderRow, order_placed
from benchmarks.payload import order_fields
from fastapi_events import EventPublisher, publisher_on


def shop(application: Application) -> FastAPI:
    """``/plain`` publishes nothing, ``/session`` by the instance, ``/dependency`` by the injected publisher."""

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with application.sessions() as session:
            yield session

    session_dependency = Annotated[AsyncSession, Depends(get_session)]
    publisher = Annotated[EventPublisher, Depends(publisher_on(session_dependency))]
    app = FastAPI()
    numbers = count(10_000_000)

    @app.post("/plain", status_code=204)
    async def plain(session: session_dependency) -> None:
        _add_order(session, next(numbers))
        await session.commit()

    @app.post("/session", status_code=204)
    async def by_session(session: session_dependency) -> None:
        number = next(numbers)
        _add_order(session, number)
        await application.publish(session, number)
        await session.commit()

    @app.post("/dependency", status_code=204)
    async def by_dependency(session: session_dependency, publish: publisher) -> None:
        number = next(numbers)
        _add_order(session, number)
        await publish(order_placed(number))
        await session.commit()

    return app


async def post(app: FastAPI, path: str) -> None:
    """One request; anything but 204 is an error."""
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    await app(_scope(path), receive, send)
    if answers[0]["status"] != 204:
        raise RuntimeError(f"POST {path} answered {answers[0]['status']}")


def _scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"bench")],
        "client": ("127.0.0.1", 1),
        "server": ("bench", 80),
    }


def _add_order(session: AsyncSession, number: int) -> None:
    fields = order_fields(number)
    session.add(OrderRow(id=fields["order_id"], number=number, note=fields["note"]))
