"""The pytest plugin, in a project of its own and in ones that do not use it."""

import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.testing_kit.projects import PLUGIN, plugin_options, run_tests

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="module")
def done(server_url: str) -> subprocess.CompletedProcess[str]:
    """One run of the project's tests."""
    return run_tests(PROJECT, "-v", server_url=server_url)


def test_a_project_is_tested_with_the_fixtures(done: subprocess.CompletedProcess[str]) -> None:
    """With asyncio, with anyio and with a test client, one after the other."""
    assert re.search(r"\b1 failed, 8 passed\b", done.stdout), done.stdout + done.stderr


def test_a_failed_assertion_is_told_in_full(done: subprocess.CompletedProcess[str]) -> None:
    assert "OrderPlaced(order_id=2): exactly one expected, none published." in done.stdout
    assert "order_id=1 (not 2)" in done.stdout
    # The line that is shown is the user's.
    assert "test_with_asyncio.py:" in done.stdout
    assert "testing/published.py" not in done.stdout


async def test_its_database_is_gone_afterwards(done: subprocess.CompletedProcess[str], server_url: str) -> None:
    connection = await asyncpg.connect(server_url)
    left = await connection.fetch("SELECT datname FROM pg_database WHERE datname ~ '^events_pytest_[0-9]+$'")
    own = await connection.fetchval("SELECT current_database()")
    await connection.close()
    # The database of this run has such a name too.
    assert len({row["datname"] for row in left} - {own}) <= 1


def test_which_object_is_meant_has_to_be_said(tmp_path: Path, server_url: str) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(events_app): ...\n")
    done = run_tests(tmp_path, server_url=server_url)
    assert 'fastapi_events_app = "shop.events:events"' in done.stdout
    wrong = {"json:nothing": "the module json has no 'nothing'", "nosuch.thing:events": "there is no module 'nosuch'"}
    for target, complaint in wrong.items():
        done = run_tests(tmp_path, "-o", f"fastapi_events_app={target}", server_url=server_url)
        assert complaint in done.stdout


def test_it_loads_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    heavy = {'sqlalchemy', 'asyncpg', 'fastapi', 'starlette', 'pydantic', 'alembic', 'sqlmodel'}\n"
        "    assert not heavy & {name.partition('.')[0] for name in sys.modules}\n"
        "    assert 'fastapi_events.testing.pytest_plugin' in sys.modules\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""}
    done = subprocess.run(
        [*command, "-p", PLUGIN, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert plugin_options() in ([], ["-p", PLUGIN])


def test_an_instance_that_is_not_stopped_concerns_its_own_test_alone(tmp_path: Path, server_url: str) -> None:
    (tmp_path / "shop.py").write_text(
        "from fastapi_events import Events\nevents = Events()\nsettings = events.settings\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest, shop\n"
        "@pytest.mark.asyncio\n"
        "@pytest.mark.fastapi_events(max_attempts=2)\n"
        "async def test_whose_instance_does_not_stop(events):\n"
        "    async def fail(*_): raise OSError('no way out')\n"
        "    events.runtime.executor.close = fail\n"
        "@pytest.mark.asyncio\n"
        "async def test_after_it(events):\n"
        "    assert events.settings.max_attempts == shop.settings.max_attempts\n"
        "@pytest.mark.asyncio\n"
        "async def test_that_starts_it_once_more(events):\n"
        "    await events.start()\n"
        "@pytest.mark.asyncio\n"
        "async def test_after_that(events):\n"
        "    await events.drain_once()\n"
        "def test_at_the_end():\n"
        "    assert shop.events.settings is shop.settings\n"
    )
    done = run_tests(tmp_path, "-o", "fastapi_events_app=shop:events", server_url=server_url)
    assert "5 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "OSError: no way out" in done.stdout
