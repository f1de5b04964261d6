"""A handler whose session is the application's own is told, once, that nothing commits it with the delivery."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import Depends
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession

from fastapi_events import HandlerSession, Module
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish

maker: async_sessionmaker[AsyncSession] = async_sessionmaker()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with maker() as session:
        yield session


async def get_sqlmodel_session() -> AsyncIterator[SQLModelSession]:
    raise AssertionError
    yield


async def get_untyped() -> Any:
    raise AssertionError


async def get_committed() -> AsyncIterator[AsyncSession]:
    async with maker.begin() as session:
        yield session


async def get_delivery_session(session: HandlerSession) -> AsyncSession:
    return session


Own = Annotated[AsyncSession, Depends(get_session)]


class Orders:
    def __init__(self, session: Own) -> None:
        self.session = session


class CommittingOrders:
    def __init__(self, session: Own) -> None:
        self.session = session

    async def save(self) -> None:
        await self.session.commit()


async def plain(event: Placed, session: Own) -> None: ...
async def twice(event: Placed, session: Own, again: Own) -> None: ...
async def nested(event: Placed, orders: Annotated[Orders, Depends()]) -> None: ...
async def sqlmodels(event: Placed, session: Annotated[Any, Depends(get_sqlmodel_session)]) -> None: ...
async def told_by_type(event: Placed, session: Annotated[SQLModelSession, Depends(get_untyped)]) -> None: ...
async def optional(event: Placed, session: Annotated[AsyncSession | None, Depends(get_untyped)]) -> None: ...
def threaded(event: Placed, session: Annotated[Session, Depends(get_untyped)]) -> None: ...


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "fastapi_events")
    return lambda: [text for text in map(logging.LogRecord.getMessage, caplog.records) if "nobody commits" in text]


@pytest.mark.parametrize(
    ("handler", "parameter", "through", "mend"),
    [
        (plain, "session", "get_session", "HandlerSession"),
        (twice, "session", "get_session", "HandlerSession"),
        (nested, "orders", "Orders → get_session", "HandlerSession"),
        (sqlmodels, "session", "get_sqlmodel_session", "HandlerSession"),
        (told_by_type, "session", "get_untyped", "HandlerSession"),
        (optional, "session", "get_untyped", "HandlerSession"),
        (threaded, "session", "get_untyped", "SyncHandlerSession"),
    ],
)
async def test_a_session_that_nobody_commits_is_told_once(
    stage: Stage, warnings: Callable[[], list[str]], handler: Any, parameter: str, through: str, mend: str
) -> None:
    module = Module("shop")
    module.on(Placed)(handler)
    await stage.idle(module)
    [said] = warnings()
    assert f"handler 'shop.{handler.__name__}' ({__file__}:" in said
    assert f"parameter {parameter!r} uses a session from the dependency {through}, which nobody commits" in said
    assert f"Take {mend}: it commits with the delivery." in said


async def test_sessions_that_somebody_commits_go_without_a_word(
    stage: Stage, warnings: Callable[[], list[str]]
) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def delivery(event: Placed, session: HandlerSession) -> None: ...

    @module.on(Placed)
    async def handed_on(event: Placed, session: Annotated[AsyncSession, Depends(get_delivery_session)]) -> None: ...

    @module.on(Placed)
    async def by_dependency(event: Placed, session: Annotated[AsyncSession, Depends(get_committed)]) -> None: ...

    @module.on(Placed)
    async def by_service(event: Placed, orders: Annotated[CommittingOrders, Depends()]) -> None: ...

    @module.on(Placed)
    async def by_handler(event: Placed, session: Own) -> None:
        await effect(session, "by_handler", event.number)
        await session.commit()

    engine = create_async_engine(stage.url.replace("postgresql://", "postgresql+asyncpg://"))
    maker.configure(bind=engine)
    events = await stage.idle(module)
    assert warnings() == []
    await publish(events, [Placed(order="a", number=7)])
    await events.drain_once()
    await engine.dispose()
    assert await stage.value("SELECT number FROM effect WHERE handler = 'by_handler'") == 7


async def test_a_handler_with_a_warning_goes_on_working(stage: Stage, warnings: Callable[[], list[str]]) -> None:
    module, seen = Module("shop"), []

    async def end(session: AsyncSession) -> None:
        await session.commit()

    @module.on(Shipped)
    async def elsewhere(event: Shipped, session: Own) -> None:
        seen.append((await session.execute(text("SELECT 1"))).scalar())
        await effect(session, "elsewhere", event.number)
        await end(session)

    engine = create_async_engine(stage.url.replace("postgresql://", "postgresql+asyncpg://"))
    maker.configure(bind=engine)
    events = await stage.idle(module)
    assert len(warnings()) == 1
    await publish(events, [Shipped(order="a", number=8)])
    await events.drain_once()
    await engine.dispose()
    assert seen == [1]
    assert await stage.value("SELECT number FROM effect WHERE handler = 'elsewhere'") == 8
