"""The processes, the database and the clock under one schedule: nothing happens but by a step."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NoReturn
from unittest.mock import patch

from fastapi_events import Delivery, Event
from fastapi_events.engine import away
from fastapi_events.model import identity
from fastapi_events.model.context import Flow
from fastapi_events.model.envelope import PublishOptions, PublishRules, seal
from fastapi_events.store.log import EventLog
from fastapi_events.store.statements import Statements
from tests.properties.accounts import Attempt
from tests.properties.application import PARTITIONS, Act
from tests.properties.gate import Gate
from tests.properties.ground import CLEAN, Ground
from tests.properties.leases import Violation
from tests.properties.picture import picture
from tests.properties.process import Console, Process, Wakeable, Worker, numbered_ids
from tests.properties.readings import paused, read
from tests.properties.virtual_loop import number_anew

MOST_EVENTS = 24


@dataclass
class Publication:
    """A publisher's transaction that is open."""

    connection: Any
    numbers: list[int] = field(default_factory=list)


class World(Gate):
    """One example."""

    def __init__(self, ground: Ground, *, batch_size: int = 3) -> None:
        super().__init__(ground)
        self.batch_size = batch_size
        self.trace: list[str] = []
        self.workers: list[Worker] = []
        self.scripts: dict[str, deque[Act]] = {}
        self.hanging: list[tuple[Attempt, asyncio.Future[Act]]] = []
        self.publications: list[Publication] = []
        number_anew()
        self._numbers = 0
        self.starts = 0
        self._log = EventLog(Statements())
        self.is_broken = False
        self._patches = [
            patch.object(identity.uuid_utils, "uuid7", numbered_ids()),
            patch.object(away.secrets, "randbelow", random.Random(1).randrange),
        ]
        for one in self._patches:
            one.start()
        random.seed(7)
        self.observer.execute(CLEAN)
        self._defects = _Defects()
        logging.getLogger("fastapi_events").addHandler(self._defects)
        self.console = Console(self)
        self.processes.append(self.console)

    # What processes ask of the world

    def begins(self, process: Process, handler: str, number: int, delivery: Delivery) -> Attempt:
        return self.model.begins(process, handler, number, delivery)

    def next_act(self, handler: str) -> Act:
        script = self.scripts.get(handler)
        return script.popleft() if script else "succeed"

    async def hang(self, attempt: Attempt) -> Act:
        future: asyncio.Future[Act] = attempt.process.loop.create_future()
        self.hanging.append((attempt, future))
        return await future

    # Steps

    def start_worker(self) -> Worker:
        """A new process; its start is one step."""
        self.starts += 1
        worker = Worker(self, f"w{self.starts}")
        self.processes.append(worker)
        self.workers.append(worker)
        self.note(f"start {worker.name}")
        worker.starting = worker.spawn(worker.start())
        self.settle()
        while own := [call for call in self.pending if call.process is worker and not worker.is_up]:
            self.execute(own[0])
        if worker.runtime is not None and worker.runtime.group_id:
            self.console.group = worker.runtime.group_id
        if not self.model.handlers:
            rows = self.observer.execute("SELECT id, name FROM events.handler").fetchall()
            self.model.learn_handlers({name: number for number, name in rows})
        return worker

    def publish(self, events: list[tuple[type[Event], str]], *, delay: float | None = None) -> Publication:
        """Publish in a new transaction, which stays open."""
        publication = Publication(self.stable.take("publisher"))
        envelopes = []
        for kind, key in events:
            self._numbers += 1
            event = kind(order=key, number=self._numbers)  # type: ignore[call-arg]
            options = PublishOptions(delay=delay) if delay else PublishOptions()
            envelopes.append(seal(event, PublishRules(partitions=PARTITIONS), Flow(), options))
            publication.numbers.append(self._numbers)
            self.model.publishes(self._numbers, kind, key, scheduled=delay is not None)

        async def insert() -> None:
            await publication.connection.execute("BEGIN")
            await self._log.append(publication.connection, envelopes)

        self.stable.run(insert())
        self.publications.append(publication)
        self.note(f"publish {publication.numbers} {[key for _, key in events]} delay={delay}")
        return publication

    def end(self, publication: Publication, *, commit: bool) -> None:
        """Commit a publisher's transaction, or roll it back."""
        self.publications.remove(publication)
        self.note(f"{'commit' if commit else 'roll back'} {publication.numbers}")
        self.stable.run(publication.connection.execute("COMMIT" if commit else "ROLLBACK"))
        self.stable.give_back("publisher", publication.connection)
        self.model.ends(publication.numbers, commit=commit)
        self.observe("the publisher's commit", None)

    @property
    def has_room(self) -> bool:
        """Whether there are few enough events for another one."""
        return self._numbers < MOST_EVENTS

    @property
    def can_go_on(self) -> list[int]:
        """Which of the hanging handlers are in processes that run."""
        return [index for index, (attempt, _) in enumerate(self.hanging) if attempt.process.can_run]

    def crash(self, process: Worker) -> None:
        """It does nothing any more, and the server notices at once."""
        self.note(f"crash {process.name}")
        process.is_dead = True
        self.workers.remove(process)
        self._forget(process)
        for connection in process.connections:
            connection.terminate()
        self.settle()

    def freeze(self, process: Worker) -> None:
        self.note(f"freeze {process.name}")
        process.is_frozen = True

    def thaw(self, process: Worker) -> None:
        self.note(f"thaw {process.name}")
        process.is_frozen = False
        self.settle()

    def stop(self, process: Worker) -> None:
        """Begin a graceful end; it goes on as its calls are let through."""
        self.note(f"stop {process.name}")
        process.stopping = process.spawn(process.stop())
        self.settle()

    def wake(self, process: Worker, what: Wakeable = "everything") -> None:
        """Tell it of something, as a notification would."""
        self.note(f"wake {process.name}: {what}")
        process.wake(what)
        self.settle()

    def wake_all(self, what: Wakeable) -> None:
        """Tell all that are up."""
        for worker in self.workers:
            if worker.is_up:
                self.wake(worker, what)

    def finish(self, index: int, act: Act) -> None:
        """Let a handler that hangs go on."""
        attempt, future = self.hanging.pop(index)
        self.note(f"{attempt.process.name}: {attempt.handler} of {attempt.number} goes on: {act}")
        if not future.done():
            future.set_result(act)
        self.settle()

    def pass_time(self, seconds: float) -> None:
        """Time passes, for the server and for everybody's own clock, of those that are frozen too."""
        self.note(f"{seconds:g} s pass")
        self.now += seconds
        self.jump(seconds, noted=False)
        for process in self.processes:
            process.loop.now = self.now
        self._expire()
        self.settle()

    def jump(self, seconds: float, *, noted: bool = True) -> None:
        """The server's clock is set."""
        if noted:
            self.note(f"the server's clock jumps by {seconds:g} s")
        self.model.silence.pass_time(seconds)
        self.observer.execute(
            "SELECT setval('simulated.moment', (SELECT last_value FROM simulated.moment) + %s::bigint)",
            [int(seconds * 1000)],
        )

    def operate(self, what: str, *arguments: Any, **options: Any) -> None:
        """An operator acts; the action's statements are let through like any."""
        self.note(f"operator: {what} {[self.model.name_of(one) for one in arguments[:1]]} {options.get('handler', '')}")
        action = getattr(self.console.operations, what)
        self.console.spawn(action(*arguments, actor="operator", reason="property", **options))
        if what in ("redrive", "discard"):
            self.model.asked(what, arguments[0])
        self.settle()

    def paused(self) -> list[dict[str, str]]:
        """What is paused, as ``resume`` takes it."""
        return paused(self.observer)

    # How a step comes to its end

    def settle(self) -> None:
        """Run every process until all wait for the schedule."""
        try:
            self._settle()
        except Exception as error:
            self._breaks(error)
            raise

    def _breaks(self, error: Exception) -> None:
        if not self.is_broken:
            error.add_note("\n".join([*self.trace, picture(self.observer)]))
        self.is_broken = True

    def _settle(self) -> None:
        busy = True
        while busy:
            busy = False
            for process in self.processes:
                if process.can_run and process.loop.is_ready:
                    process.loop.settle()
                    busy = True
            busy |= self._sweep()
            busy |= self._plumb()
            busy |= self._unblock()
        self.hanging = [entry for entry in self.hanging if not entry[1].done()]
        self.workers = [worker for worker in self.workers if not worker.has_ended]
        self.model.look(self.workers)
        self.model.check(self.processes, self._defects.found)

    def note(self, text: str) -> None:
        self.trace.append(text)

    def fail(self, why: str) -> NoReturn:
        """A promise is broken."""
        violation = Violation(why)
        self._breaks(violation)
        raise violation

    def observe(self, what: str, process: Process | None) -> None:
        try:
            self.model.observe(read(self.observer), what, process)
        except Exception as error:
            self._breaks(error)
            raise

    def close(self) -> None:
        logging.getLogger("fastapi_events").removeHandler(self._defects)
        for publication in self.publications:
            self.stable.run(publication.connection.execute("ROLLBACK"))
            self.stable.give_back("publisher", publication.connection)
        for process in self.processes:
            process.is_dead = True
            for connection in list(process.connections):
                connection.terminate()
        self._sweep()
        for process in self.processes:
            process.bury()
        self._sweep()
        for one in self._patches:
            one.stop()
        gc.collect()

    def _forget(self, process: Process) -> None:
        self.pending = [call for call in self.pending if call.process is not process]
        self.hanging = [entry for entry in self.hanging if entry[0].process is not process]


class _Defects(logging.Handler):
    """What the library logs with a traceback is a defect, not the infrastructure's failing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(self.format(record))
