"""Several instances in one process: handlers that nobody runs are told, and two at one address are refused."""

import gc
import logging
from collections.abc import Callable
from weakref import WeakSet

import pytest
from fastapi import APIRouter, FastAPI

from fastapi_events import Events, Module
from fastapi_events.errors import DeclarationError
from fastapi_events.plugin import siblings
from tests.dashboard.ground import client_of
from tests.delivery.stage import Pinged, Placed, Stage


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances that other tests of this process have left behind are nobody's siblings."""
    monkeypatch.setattr(siblings, "_all", WeakSet())


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "fastapi_events")
    return lambda: [said for said in map(logging.LogRecord.getMessage, caplog.records) if "never run" in said]


def shop() -> Module:
    module = Module("shop")

    @module.on(Placed)
    async def placed(event: Placed) -> None: ...

    @module.on(Pinged)
    async def pinged(event: Pinged) -> None: ...

    return module


async def serve(*instances: Events, prefix: str = "") -> None:
    app = FastAPI()
    for number, events in enumerate(instances):
        app.include_router(events.router, prefix=prefix * number)
    async with app.router.lifespan_context(app):
        pass


async def test_an_instance_with_handlers_that_is_never_started_is_told(
    stage: Stage, warnings: Callable[[], list[str]]
) -> None:
    own = Events()

    @own.on(Placed)
    async def placed(event: Placed) -> None: ...

    with_modules = Events([shop()])
    await serve(stage.make())
    one, more = sorted(warnings())
    assert one.startswith(f"handler 'app.placed' ({__file__}:")
    assert "will never run: the Events object that it belongs to is not started" in one
    assert "app.include_router(events.router)" in one
    assert "handler 'shop.placed'" in more
    assert "(and 1 more)" in more
    del own, with_modules, placed


async def test_the_others_go_without_a_word(stage: Stage, warnings: Callable[[], list[str]]) -> None:
    module = shop()
    empty, same_module, second = Events(), Events([module]), stage.make(shop(), group="second")
    stopped = await stage.idle(shop(), group="third")
    await stopped.stop()
    await serve(stage.make(module), second, prefix="/second")
    assert warnings() == []
    del empty, same_module


async def test_an_instance_that_is_gone_is_not_told(stage: Stage, warnings: Callable[[], list[str]]) -> None:
    gc.disable()  # what is part of a cycle stays until somebody collects it
    try:
        gone = Events([shop()])
        del gone
        await serve(stage.make())
    finally:
        gc.enable()
    assert warnings() == []


async def test_two_instances_at_one_prefix_are_refused(stage: Stage) -> None:
    first, second = stage.make(), stage.make(group="second")
    with pytest.raises(DeclarationError, match=r"Two Events objects of this app answer at /events/health.*prefix='/"):
        await serve(first, second)


async def test_two_instances_at_two_prefixes_and_one_at_two_are_served(stage: Stage) -> None:
    first, second, app, router = stage.make(), stage.make(group="second"), FastAPI(), APIRouter()
    router.include_router(second.router)
    app.include_router(first.router)
    app.include_router(first.router, prefix="/again")
    app.include_router(router, prefix="/second")
    async with app.router.lifespan_context(app), client_of(app) as client:
        for prefix in ("", "/again", "/second"):
            assert (await client.get(f"{prefix}/events/health")).status_code == 200
