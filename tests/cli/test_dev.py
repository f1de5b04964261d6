"""``fastapi-events dev``: it serves an application of the folder it is started in."""

import asyncio
import signal
import socket
from pathlib import Path

import httpx

from tests.cli.conftest import Run, running
from tests.conftest import NewDatabase
from tests.delivery.stage import until


async def test_the_app_of_the_current_folder_is_served(project: Path, new_database: NewDatabase) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ("dev", "shop.main:app", "--port", str(port))
    with running(project, *arguments, EVENTS_DATABASE_URL=await new_database()) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                assert "Error" not in (log := (project / "log").read_text()), log
                try:
                    return (await client.get("/events/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready, "the application", 30)
            assert (await client.get("/events/dashboard")).status_code == 200
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.wait, 20)


async def test_what_cannot_be_served_is_told_in_a_line(run: Run) -> None:
    wrong = {
        "shop.events:events": "that is Events, not a FastAPI application",
        "shop.main:nosuch": "the module shop.main has no attribute 'nosuch'",
        "shop.main": "it is module:attribute",
        "shopp.main:app": "there is no module 'shopp'",
    }
    for target, done in zip(wrong, await asyncio.gather(*(run("dev", target) for target in wrong)), strict=True):
        assert done.status == 1
        assert done.errors.startswith(f"SettingsError: dev {target}: {wrong[target]}"), done
        assert len(done.errors.splitlines()) == 1
        assert not done.output
