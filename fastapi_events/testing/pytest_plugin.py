"""The pytest plugin: fixtures for tests of an application that uses events.

It imports nothing of the library before one of its fixtures is used, and changes nothing where none is.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi_events.testing.databases import CleanDatabase
    from fastapi_events.testing.published import PublishedEvents
    from fastapi_events.testing.started import StartedRuns
    from fastapi_events.testing.time_machine import TimeMachine

MARKER = "fastapi_events"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of ``[tool.pytest.ini_options]``."""
    parser.addini("fastapi_events_app", "module:attribute of the Events object under test, e.g. shop.events:events")
    parser.addini("fastapi_events_database_url", "a PostgreSQL server for tests (default: an embedded one)")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(running=False, **settings): how the fixtures of fastapi-events-pg start the Events object: running "
        "lets it handle events by itself, further keywords are settings, e.g. max_attempts=1",
    )


@pytest.fixture(scope="session")
def events_database_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a PostgreSQL database for this run alone.

    It is made on the server of ``FASTAPI_EVENTS_TEST_DATABASE_URL``, or of ``fastapi_events_database_url``, else on an
    embedded one. Override it (session scope) to bring a database of your own: tables that have rows at first are kept,
    all others are emptied before each test.
    """
    from fastapi_events.testing.databases import temporary_database

    given = (
        os.environ.get("FASTAPI_EVENTS_TEST_DATABASE_URL") or pytestconfig.getini("fastapi_events_database_url") or None
    )
    with temporary_database(given) as url:
        yield url


@pytest.fixture(scope="session")
def events_tables(events_database_url: str) -> None:
    """Override it (session scope) to make your own tables in the database of ``events_database_url``."""


@pytest.fixture(scope="session")
def _events_clean_database(events_database_url: str, events_tables: None) -> Iterator[CleanDatabase]:  # noqa: ARG001
    from fastapi_events.testing.databases import CleanDatabase

    database = CleanDatabase(events_database_url, schema=os.environ.get("EVENTS_SCHEMA") or "events")
    yield database
    database.close()


@pytest.fixture
def events_database(_events_clean_database: CleanDatabase) -> str:
    """The URL of the database, which is empty but for what it held before the first test."""
    _events_clean_database.clean()
    return _events_clean_database.url


@pytest.fixture
def events_app(pytestconfig: pytest.Config) -> Any:
    """The ``Events`` object under test: that of ``fastapi_events_app``. Override it to return another one."""
    target = pytestconfig.getini("fastapi_events_app")
    module, _, attribute = str(target).partition(":")
    if not module or not attribute:
        raise pytest.UsageError(
            'Which Events object is under test? Set fastapi_events_app = "shop.events:events" under '
            "[tool.pytest.ini_options], or override the fixture events_app to return it."
        )
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise pytest.UsageError(
            f"fastapi_events_app = {target!r}: there is no module {error.name!r} to import. Mend the name, or set "
            "pythonpath = . under [tool.pytest.ini_options] if it is in the project's folder."
        ) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise pytest.UsageError(f"fastapi_events_app = {target!r}: the module {module} has no {attribute!r}.")
        found = getattr(found, name)
    if not hasattr(found, "drain_once"):
        raise pytest.UsageError(f"fastapi_events_app = {target!r} is {type(found).__name__}, not the Events object.")
    return found


@pytest.fixture
def prepared_events(request: pytest.FixtureRequest, events_app: Any, events_database: str) -> Iterator[Any]:
    """The ``Events`` object, led to the empty database and not started: for tests that run the application's lifespan.

    Its loops are off, however it is started: events are handled by ``drain_once()``, unless the test is marked
    ``@pytest.mark.fastapi_events(running=True)``.
    """
    from fastapi_events.testing.leading import led_to

    running, settings = _marked(request)
    with led_to(events_app, events_database, running=running, settings=settings):
        yield events_app


@pytest.fixture
def events(request: pytest.FixtureRequest, prepared_events: Any) -> Any:  # noqa: ARG001
    """The ``Events`` object, started on the test's event loop, and stopped after it."""
    by_anyio = request.node.get_closest_marker("anyio") is not None
    if not by_anyio and find_spec("pytest_asyncio") is None:
        raise pytest.UsageError(
            "The fixture events starts on the test's event loop, and nothing here runs async tests: install "
            "pytest-asyncio, or mark the test with @pytest.mark.anyio. A sync test takes prepared_events."
        )
    return request.getfixturevalue("_events_on_anyio" if by_anyio else "_events_on_asyncio")


@asynccontextmanager
async def _started(request: pytest.FixtureRequest, prepared: Any) -> AsyncGenerator[Any]:
    running, _ = _marked(request)
    await prepared.start(drains=running)
    try:
        yield prepared
    finally:
        await prepared.stop()
        while _is_started(prepared):  # starts are counted, and the test has made some more
            await prepared.stop()


def _is_started(events: Any) -> bool:
    from fastapi_events.errors import NotStarted

    try:
        return events.observe is not None
    except NotStarted:
        return False


@pytest.fixture
async def _events_on_anyio(request: pytest.FixtureRequest, prepared_events: Any) -> AsyncIterator[Any]:
    async with _started(request, prepared_events) as events:
        yield events


if find_spec("pytest_asyncio") is not None:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def _events_on_asyncio(request: pytest.FixtureRequest, prepared_events: Any) -> AsyncIterator[Any]:
        async with _started(request, prepared_events) as events:
            yield events


@pytest.fixture
def published(prepared_events: Any) -> PublishedEvents:
    """What has been published in this test, to assert about: ``await published.one(OrderPlaced, order_id=7)``."""
    from fastapi_events.testing.published import PublishedEvents

    return PublishedEvents(prepared_events)


@pytest.fixture
def started(prepared_events: Any) -> StartedRuns:
    """Which runs of jobs have been started in this test: ``await started.one(restock, sku="A-1")``."""
    from fastapi_events.testing.started import StartedRuns

    return StartedRuns(prepared_events)


@pytest.fixture
def events_clock(prepared_events: Any) -> TimeMachine:
    """Lets time pass for retries, schedules and leases: ``await events_clock.advance(timedelta(hours=1))``."""
    from fastapi_events.testing.time_machine import TimeMachine

    return TimeMachine(prepared_events)


@pytest.fixture
def wait_for_event(prepared_events: Any) -> Callable[..., Any]:
    """``await wait_for_event(OrderPlaced, handler="inventory.reserve_stock")``; see ``wait_for``."""
    from fastapi_events.testing.waiting import wait_for

    return partial(wait_for, prepared_events)


def _marked(request: pytest.FixtureRequest) -> tuple[bool, dict[str, Any]]:
    """What the markers of a test say; the closest one wins."""
    settings: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(MARKER))):
        settings |= marker.kwargs
    return bool(settings.pop("running", False)), settings
