"""Connections of simulated processes: each statement waits at a gate until the schedule lets it through."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from tests.properties.world import Process

GATED = frozenset({
    "claim_windows", "settle_batch", "claim_keys", "read_queue", "settle_key", "release_keys", "heartbeat",
    "next_due", "find_marks", "find_tombstone", "list_handlers", "read_pauses", "start_handlers", "register_worker",
    "remove_worker", "append_due_events", "next_scheduled", "redrive_deliveries", "remove_tombstones",
    "discard_deliveries", "pause_handler", "pause_lanes", "release_parked_key", "record_failures", "take_probes",
    "close_breaker", "take mark", "effect", "COMMIT", "find_key", "claim_suspect", "doubt_keys", "begin_alone",
    "end_alone", "count_vanished",
})  # fmt: skip
"""Statements between which anything may happen. The others change nothing that anybody else sees, and pass at once."""

EFFECT = "INSERT INTO effect (handler, number, process) VALUES ($1, $2, $3)"
_LOCK_TIMEOUT = re.compile(r"lock_timeout = '(\d+)ms'")
_IDLE_TIMEOUT = re.compile(r"idle_in_transaction_session_timeout = '(\d+)ms'")
_MARK = re.compile(r"VALUES \((\d+), '[0-9a-f-]+', (\d+)\)")
BOOKKEEPING_LOCK_TIMEOUT = 2.0


@dataclass(eq=False)
class Call:
    """One statement on its way to the server, as ``label`` of ``process``."""

    process: Process
    connection: GatedConnection
    label: str
    send: Callable[[Any], Awaitable[Any]]
    answer: asyncio.Future[Any]
    task: asyncio.Task[Any] | None = None
    expires: float = float("inf")
    detail: str = ""
    arguments: tuple[Any, ...] = ()
    issued: int = 0

    @property
    def is_gated(self) -> bool:
        """Whether the schedule says when it passes."""
        return self.label in GATED


@cache
def _labels() -> dict[str, str]:
    folder = files("fastapi_events.store").joinpath("sql")
    return {
        _first_line(file.read_text(encoding="utf-8")): file.name[:-4]
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }


def _first_line(text: str) -> str:
    """Each statement begins with a comment of its own."""
    return text.lstrip().split("\n", 1)[0]


@cache
def label_of(query: str) -> str:
    """What a statement is called in schedules and traces."""
    named = _labels().get(_first_line(query))
    if named is not None:
        return named
    if query.startswith("BEGIN") and "processing_mark" in query:
        return "take mark"
    if "INTO effect" in query:
        return "effect"
    return re.split(r"[\s;]", query.strip(), maxsplit=1)[0].upper()


class GatedConnection:
    """What the engine uses of an asyncpg connection, in front of a real one."""

    life = "one"

    def __init__(self, process: Process, kind: str) -> None:
        self.process, self.kind = process, kind
        self.real: Any = None
        self.closed = False
        self.in_transaction = False
        self.settling: tuple[int, str] | None = None
        self.lock_timeout = BOOKKEEPING_LOCK_TIMEOUT
        self.idle_limit = float("inf")
        self.used_at = process.world.now
        process.connections.append(self)

    def attach(self) -> Any:
        """The real connection, taken when the first statement is sent."""
        if self.real is None:
            self.real = self.process.world.stable.take(self.kind)
        return self.real

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        return await self._ask(query, lambda real: real.fetch(query, *args), args)

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        return await self._ask(query, lambda real: real.fetchrow(query, *args), args)

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        return await self._ask(query, lambda real: real.fetchval(query, *args, column=column), args)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        return await self._ask(query, lambda real: real.execute(query, *args), args)

    async def executemany(self, query: str, args: Any, *, timeout: float | None = None) -> Any:
        rows = list(args)
        return await self._ask(query, lambda real: real.executemany(query, rows))

    async def prepare(self, query: str, **_: Any) -> PreparedStatement:
        real = await self._ask("PREPARE", lambda real: real.prepare(query))
        return PreparedStatement(self, query, real)

    async def set_type_codec(self, *args: Any, **options: Any) -> None:
        await self._ask("CODEC", lambda real: real.set_type_codec(*args, **options))

    def transaction(self, **_: Any) -> PlainTransaction:
        return PlainTransaction(self)

    def is_in_transaction(self) -> bool:
        return self.in_transaction and not self.closed

    def is_closed(self) -> bool:
        return self.closed

    def get_server_version(self) -> Any:
        return self.real.get_server_version()

    def add_termination_listener(self, _: Any) -> None:
        return

    async def close(self, timeout: float | None = None) -> None:
        self.terminate()

    def terminate(self) -> None:
        """Cut the line: the server rolls back before anybody else does anything."""
        if not self.closed:
            self.closed = True
            self.process.world.cut(self)

    async def _ask(self, query: str, send: Callable[[Any], Awaitable[Any]], args: Any = ()) -> Any:
        if self.closed or self.process.is_dead:
            raise asyncpg.InterfaceError("the connection is closed")
        call = Call(self.process, self, label_of(query), send, self.process.loop.create_future(), arguments=tuple(args))
        if call.label == "take mark":
            self._note_limits(query)
        if call.label == "effect":
            call.detail = f"{args[0]} {args[1]}"
        call.issued = self.process.world.model.tick
        self.process.world.ask(call)
        try:
            return await call.answer
        except asyncio.CancelledError:
            self.process.world.withdraw(call)
            raise

    def _note_limits(self, begin: str) -> None:
        lock, idle = _LOCK_TIMEOUT.search(begin), _IDLE_TIMEOUT.search(begin)
        if lock is None or idle is None:
            raise AssertionError(f"a handler's transaction begins without limits: {begin}")
        self.lock_timeout, self.idle_limit = int(lock[1]) / 1000, int(idle[1]) / 1000
        mark = _MARK.search(begin)
        if mark is None:
            raise AssertionError(f"a handler's transaction begins without a mark: {begin}")
        self.process.transactions_begun[int(mark[1]), int(mark[2])] = self.process.loop.now


class PreparedStatement:
    """A prepared statement, whose running waits at the gate."""

    def __init__(self, connection: GatedConnection, query: str, real: Any) -> None:
        self._connection, self._query, self._real = connection, query, real

    def get_attributes(self) -> Any:
        return self._real.get_attributes()

    def get_statusmsg(self) -> Any:
        return self._real.get_statusmsg()

    async def fetch(self, *args: Any) -> Any:
        return await self._connection._ask(self._query, lambda _: self._real.fetch(*args), args)


class PlainTransaction:
    """asyncpg's transaction block: its COMMIT waits at the gate like any statement."""

    def __init__(self, connection: GatedConnection) -> None:
        self._connection = connection

    async def start(self) -> None:
        await self._connection.execute("BEGIN")

    async def commit(self) -> None:
        await self._connection.execute("COMMIT")

    async def rollback(self) -> None:
        await self._connection.execute("ROLLBACK")

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            await self.commit()
        elif not self._connection.closed:
            await self.rollback()


class GatedPool:
    """The bookkeeping pool of one process."""

    def __init__(self, process: Process, size: int) -> None:
        self._process, self._room = process, asyncio.Semaphore(size)
        self._free: list[GatedConnection] = []

    async def acquire(self) -> GatedConnection:
        await self._room.acquire()
        while self._free:
            connection = self._free.pop()
            if not connection.closed:
                return connection
        try:
            return self._process.connect("bookkeeping")
        except BaseException:
            self._room.release()
            raise

    async def release(self, connection: GatedConnection) -> None:
        if not connection.closed:
            self._free.append(connection)
        self._room.release()

    async def expire_connections(self) -> None:
        return

    async def close(self) -> None:
        return

    def terminate(self) -> None:
        return
