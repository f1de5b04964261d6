"""What a newcomer does: the README's first app, its shop, and the tutorial."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlmodel import SQLModel

from tests.docs.pages import Project, blocks_of
from tests.docs.serving import WITHIN, execute, served, until

Made = Callable[[str], Project]


async def test_the_first_app_of_the_readme(project: Made, clean_database: str, unused_port: int) -> None:
    """As its commands say, but on the tests' server: the embedded one has its own tests."""
    folder = project("README.md").folder
    environment = {
        **os.environ, "EVENTS_DEV": "1", "EVENTS_AUTO_UPGRADE": "1", "PYTHONUNBUFFERED": "1",
        "EVENTS_POLL_INTERVAL": "0.2",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "app:app", "--port", str(unused_port)),
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = ""
    try:
        output += await told(process, "Uvicorn running on")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_port}") as client:
            order = (await client.post("/orders?sku=LAMP")).json()
            output += await told(process, f"reserving one LAMP for order {order}")
            (await client.post("/customers?email=ana@example.com")).raise_for_status()
            await until(lambda: execute(clean_database, _RUN_DUE))  # nobody waits for twenty seconds here
            output += await told(process, "how do you like it, ana@example.com")
            assert output.count("welcome, ana@example.com") == 1
            dashboard = await client.get("/events/dashboard", follow_redirects=True)
            assert dashboard.status_code == 200
            assert "orders.order.placed" in (await client.get("/events/dashboard/events")).text
    finally:
        process.terminate()
        output += (await process.communicate())[0].decode()
    assert "Application shutdown complete" in output


async def test_the_shop_of_the_readme(project: Made) -> None:
    """Order, event and reservation, in tables that it makes itself; an order that is refused leaves neither."""
    shop = project("README.md")
    db, main, orders, inventory = (shop.load(f"shop.{name}") for name in ("db", "main", "orders", "inventory"))
    tables = [orders.Order.__table__, inventory.Reservation.__table__]
    others = [table for table in SQLModel.metadata.sorted_tables if table not in tables]
    for table in others:  # of other tests: they are not the README's
        SQLModel.metadata.remove(table)
    try:
        async with served(main.app) as client:
            order = (await client.post("/orders", json={"sku": "LAMP", "quantity": 2})).raise_for_status().json()
            assert (await client.post("/orders", json={"sku": "LAMP", "quantity": 0})).status_code == 422

            async def reserved() -> Any:
                async with db.SessionLocal() as session:
                    return await session.get(inventory.Reservation, order["id"])

            assert (await until(reserved)).quantity == 2
    finally:
        async with db.engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.drop_all, tables)
        await db.engine.dispose()
        SQLModel.metadata.clear()
        for table in others:
            table.to_metadata(SQLModel.metadata)


def test_readme_and_tutorial_do_not_meet() -> None:
    """Who does one after the other has both in one database: neither may find the other's events and handlers."""
    events = [set(re.findall(r'name="([\w.]+)"', first_file(page))) for page in ("README.md", "docs/tutorial.md")]
    groups = [set(re.findall(r'group="(\w+)"', first_file(page))) for page in ("README.md", "docs/tutorial.md")]
    assert all(events)
    assert not events[0] & events[1]
    assert groups[0] != groups[1]


def first_file(page: str) -> str:
    return next(block.text for block in blocks_of(page, "python") if block.file)


async def test_the_tutorial(
    project: Made, clean_database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVENTS_DEV", "1")
    monkeypatch.setenv("EVENTS_POLL_INTERVAL", "0.2")
    tickets = project("docs/tutorial.md").load("tickets")
    output = ""

    async def seen(line: str) -> Any:
        async def printed() -> bool:
            nonlocal output
            output += capsys.readouterr().out
            if "attempt" in line and line not in output:
                await execute(clean_database, _DUE)  # nobody waits for five seconds here
            return line in output

        return await until(printed)

    async with served(tickets.app) as client:
        await client.post("/tickets?email=ana@example.com")
        await seen("sent to ana@example.com")

        take_mail_down()
        await client.post("/tickets?email=ben@example.com")
        await seen("attempt 1: a mail to ben@example.com")
        bring_mail_back()
        await seen("attempt 2: a mail to ben@example.com")
        await seen("sent to ben@example.com")

        take_mail_down()
        await client.post("/tickets?email=cleo@example.com")
        await seen("attempt 3: a mail to cleo@example.com")
        letters = await until(lambda: dead_letters(client))
        assert [(letter["handler"], letter["attempts"]) for letter in letters] == [("app.send_confirmation", 3)]
        page = await client.get("/events/dashboard/dead-letters")
        assert "the mail server does not answer" in page.text
        assert "Redrive…" in (await client.get(f"/events/dashboard/dead-letters/{letters[0]['id']}")).text

        bring_mail_back()
        await client.post("/events/api/dead-letters/redrive", json={"ids": [letters[0]["id"]]})
        await seen("sent to cleo@example.com")
        assert not await dead_letters(client)
        assert "developer" in (await client.get("/events/dashboard/audit")).text.lower()

        take_mail_down()
        asked = await client.post(f"/tickets/{uuid4()}/refund?email=dan@example.com")
        run = asked.raise_for_status().json()
        await seen("paid back ticket")
        await until(lambda: execute(clean_database, "SELECT FROM events.run_attempt WHERE outcome = 'retry'"))
        assert run in (await client.get("/events/dashboard/runs")).text
    async with served(tickets.app):  # the server is started again
        bring_mail_back()
        await execute(clean_database, _RUN_DUE)
        tickets.events.runtime.wake.everything()
        await seen("told dan@example.com of 4200 cents")
    assert output.count("paid back ticket") == 1
    assert output.count("attempt 1: a mail to cleo@example.com") == 2
    assert output.count("counted ticket") == 3


_DUE = (
    "UPDATE events.parked_key SET due_at = clock_timestamp() "
    "WHERE blocked AND due_at < 'infinity' AND worker_id IS NULL"
)

_RUN_DUE = """
WITH slept AS (UPDATE events.run_step SET due_at = clock_timestamp() WHERE kind = 'sleep')
UPDATE events.run_queue SET due_at = clock_timestamp() WHERE state = 't' RETURNING run_id
"""


def take_mail_down() -> None:
    Path("mail-is-down").touch()


def bring_mail_back() -> None:
    Path("mail-is-down").unlink()


async def dead_letters(client: httpx.AsyncClient) -> Any:
    return (await client.get("/events/api/dead-letters")).raise_for_status().json()["dead_letters"]


async def told(process: asyncio.subprocess.Process, line: str) -> str:
    """What a process says until it says this."""
    assert process.stdout
    heard = ""
    async with asyncio.timeout(WITHIN):
        while line not in heard:
            more = await process.stdout.readline()
            assert more, heard
            heard += more.decode()
    return heard


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
