"""Several processes share one server; the last one out stops it, in whatever way it goes out."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastapi_events.embedded import EmbeddedServer
from tests.embedded.conftest import UserProcess, postmaster, runs, until

NewProcess = Callable[..., UserProcess]


def test_the_last_process_out_stops_the_server(process: NewProcess, data: Path) -> None:
    first, second = process(), process()
    assert first.start() == second.start()
    server = postmaster(data)["pid"]
    first.stop()
    assert runs(data)
    assert postmaster(data)["pid"] == server
    second.stop()
    assert not runs(data)
    assert not (data / "cluster" / "postmaster.pid").exists()


def test_stop_returns_only_when_the_server_is_down(process: NewProcess, data: Path) -> None:
    user = process()
    for _ in range(3):
        user.start()
        user.stop()
        assert not runs(data)


def test_a_process_that_just_ends_stops_it_too(process: NewProcess, data: Path) -> None:
    user = process()
    user.start()
    user.leave()
    until(lambda: not runs(data))


def test_a_killed_process_does_not_keep_it_alive(process: NewProcess, data: Path) -> None:
    user = process()
    user.start()
    user.kill()
    until(lambda: not runs(data))


def test_a_killed_process_does_not_take_it_from_the_living(process: NewProcess, data: Path) -> None:
    killed, alive = process(), process()
    killed.start()
    alive.start()
    server = postmaster(data)["pid"]
    killed.kill()
    newcomer = process()
    newcomer.start()  # everything that the death could set off has had its chance
    newcomer.stop()
    assert runs(data)
    assert postmaster(data)["pid"] == server
    alive.stop()
    assert not runs(data)


def test_all_users_killed_then_used_anew(process: NewProcess, data: Path) -> None:
    users = [process() for _ in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.kill()
    again = process()
    again.start()  # joins, or waits for the old one to be down: either way it runs
    assert runs(data)
    again.stop()
    assert not runs(data)


def test_processes_that_start_at_once_get_the_same_server(process: NewProcess, folder: Path) -> None:
    users = [process(folder) for _ in range(4)]
    with ThreadPoolExecutor() as threads:
        urls = set(threads.map(UserProcess.start, users))
    assert len(urls) == 1
    for user in users[1:]:
        user.stop()
    assert runs(folder)
    users[0].stop()
    assert not runs(folder)


def test_coming_and_going_at_once(process: NewProcess, data: Path) -> None:
    def come_and_go(user: UserProcess) -> None:
        for _ in range(5):
            user.start()
            assert runs(data)
            user.stop()

    with ThreadPoolExecutor() as threads:
        list(threads.map(come_and_go, [process() for _ in range(3)]))
    assert not runs(data)


def test_without_its_guard_an_orderly_stop_still_stops_it(process: NewProcess, data: Path) -> None:
    user = process()
    user.start()
    for pid in guards(data):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not guards(data))
    newcomer = process()
    newcomer.start()
    assert guards(data), "a newcomer starts a guard where there is none"
    newcomer.kill()
    user.stop()
    assert not runs(data)


def test_no_guard_remains(process: NewProcess, data: Path) -> None:
    user = process()
    user.start()
    assert len(guards(data)) == 1
    user.stop()
    until(lambda: not guards(data))


def test_two_users_in_one_process(data: Path) -> None:
    first, second = EmbeddedServer(), EmbeddedServer()
    assert first.start(data) == second.start(data)
    first.stop()
    assert runs(data)
    second.stop()
    assert not runs(data)


def test_a_forked_child_that_leaves_does_not_take_it_from_its_parent(data: Path) -> None:
    server = EmbeddedServer()
    server.start(data)
    child = os.fork()
    if child == 0:
        server.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert runs(data)
    server.stop()
    assert not runs(data)


def guards(data: Path) -> list[int]:
    """The guards of ``data`` (where the kernel tells command lines)."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc to find the guard")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(part.endswith(b"guard.py") for part in command) and os.fsencode(data) in command:
            found.append(int(folder.name))
    return found
