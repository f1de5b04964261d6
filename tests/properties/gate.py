"""The gate before the server: statements wait here until one is let through, and again for locks that others have."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Literal

import asyncpg

from tests.properties.connections import Call, GatedConnection
from tests.properties.ground import Ground
from tests.properties.model import Model
from tests.properties.process import Process
from tests.properties.readings import waiting_for_locks

Fault = Literal["none", "answer lost", "never sent"]


class Gate(ABC):
    """What is on its way to the server, and what happens to it there."""

    def __init__(self, ground: Ground) -> None:
        self.ground, self.stable, self.observer = ground, ground.stable, ground.observer
        self.now = 0.0
        self.pending: list[Call] = []
        self.blocked: list[Call] = []
        self._cut: list[GatedConnection] = []
        self.processes: list[Process] = []
        self.model = Model()

    @abstractmethod
    def settle(self) -> None:
        """Run every process until all wait for the schedule."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Add to the trace."""

    @abstractmethod
    def observe(self, what: str, process: Process | None) -> None:
        """Have the model judge what is committed now."""

    def ask(self, call: Call) -> None:
        self.pending.append(call)

    def withdraw(self, call: Call) -> None:
        """Whoever waited for the answer has given up. A statement that waits for a lock is cancelled."""
        if call in self.pending:
            self.pending.remove(call)

    def cut(self, connection: GatedConnection) -> None:
        self._cut.append(connection)

    @property
    def eligible(self) -> list[Call]:
        """What may pass now, oldest first."""
        return [call for call in self.pending if call.process.can_run]

    def execute(self, call: Call, fault: Fault = "none") -> None:
        """Let one call through, and everybody run until they wait again."""
        self.pending.remove(call)
        if fault == "never sent":
            self.note(f"{call.process.name}: {call.label} {call.detail}: never sent")
            self._break(call)
            self.settle()
            return
        call.task = self._send(call)
        if not self._wait(call):
            self._block(call)
            return
        self._answered(call, fault)
        self.settle()

    def _sweep(self) -> bool:
        """The server ends the transactions of connections that have been cut."""
        cut, self._cut = self._cut, []
        for connection in cut:
            for call in [call for call in self.blocked if call.connection is connection]:
                self._cancel(call)
                _fail(call, asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
            for call in [call for call in self.pending if call.connection is connection]:
                self.pending.remove(call)
                _fail(call, asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
            connection.process.connections.remove(connection)
            if connection.real is not None:
                if connection.real.is_in_transaction():
                    self.stable.run(connection.real.execute("ROLLBACK"))
                self.stable.give_back(connection.kind, connection.real)
        return bool(cut)

    def _plumb(self) -> bool:
        """Let through what changes nothing for others."""
        for call in self.eligible:
            if not call.is_gated:
                self.pending.remove(call)
                call.task = self._send(call)
                if self._wait(call):
                    self._answered(call, "none")
                else:
                    self._block(call)
                return True
        return False

    def _unblock(self) -> bool:
        """Take the answers of those that have got their locks."""
        if not self.blocked:
            return False
        moved = False
        for call in list(self.blocked):
            if call.answer.cancelled() and call in self.blocked:
                self._cancel(call)
                call.connection.in_transaction = call.connection.real.is_in_transaction()
                moved = True
            elif call in self.blocked and self._wait(call):
                self.blocked.remove(call)
                self._answered(call, "none")
                moved = True
        return moved

    def _expire(self) -> None:
        """What the server's own time limits end."""
        for call in [call for call in self.blocked if call.expires <= self.now]:
            self._cancel(call)
            self.note(f"{call.process.name}: {call.label}: waited too long for a lock")
            call.connection.in_transaction = call.connection.real.is_in_transaction()
            _fail(call, asyncpg.LockNotAvailableError("canceling statement due to lock timeout"))
        for process in self.processes:
            for connection in list(process.connections):
                if connection.in_transaction and connection.used_at + connection.idle_limit < self.now:
                    self.note(f"{process.name}: the server ends an idle transaction")
                    connection.terminate()

    def _cancel(self, call: Call) -> None:
        self.blocked.remove(call)
        self.observer.execute("SELECT pg_cancel_backend(%s)", [call.connection.real.get_server_pid()])
        if call.task is None:
            raise AssertionError("a call that was never sent cannot wait for a lock")
        self.stable.run(asyncio.wait({call.task}))
        call.task.exception()

    def _block(self, call: Call) -> None:
        self.note(f"{call.process.name}: {call.label} {call.detail}: waits for a lock")
        call.expires = self.now + call.connection.lock_timeout
        self.blocked.append(call)

    def _send(self, call: Call) -> asyncio.Task[Any]:
        real = call.connection.attach()

        async def sent() -> Any:
            return await call.send(real)

        return self.stable.loop.create_task(sent())

    def _wait(self, call: Call) -> bool:
        """Wait for the answer; False if the server waits for a lock that somebody else has."""
        task = call.task
        if task is None:
            raise AssertionError("a call that was never sent has no answer")
        while True:
            if self.stable.finished(task, 0.005):
                return True
            pid = call.connection.real.get_server_pid()
            # Looked at twice: a deadlock has been found meanwhile.
            waits = waiting_for_locks(self.observer, pid) and not self.stable.finished(task, 0.004)
            if waits and waiting_for_locks(self.observer, pid):
                return False

    def _answered(self, call: Call, fault: Fault) -> None:
        if call.task is None:
            raise AssertionError("a call that was never sent has no answer")
        error = call.task.exception()
        rows = None if error else call.task.result()
        connection = call.connection
        connection.used_at = self.now
        connection.in_transaction = connection.real.is_in_transaction()
        if call.is_gated:
            how = type(error).__name__ if error else len(rows) if isinstance(rows, list) else rows
            self.note(
                f"{call.process.name}: {call.label} {call.detail} -> {how}{'' if fault == 'none' else ', ' + fault}"
            )
            if error is None:
                self.model.answered(call, rows, heard=fault == "none")
            if call.label in ("COMMIT", "settle_batch", "append_due_events"):
                self.observe(call.label, call.process)
        if fault == "answer lost":
            self._break(call)
        elif error is not None:
            _fail(call, error)
        elif not call.answer.done():
            call.answer.set_result(rows)

    def _break(self, call: Call) -> None:
        call.connection.terminate()
        _fail(call, asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))


def _fail(call: Call, error: BaseException) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)
