"""Running the machine: on a database of its own, so many examples of so many steps, from a seed."""

from __future__ import annotations

import gc
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy.exc import SAWarning

from fastapi_events.store import schema
from tests.properties.application import PARTITIONS
from tests.properties.ground import Ground
from tests.properties.machine import Delivery


@dataclass(frozen=True)
class Run:
    """What a run has done."""

    examples: int
    steps: int
    calls: int
    seconds: float
    problem: BaseException | None


async def prepare(url: str) -> None:
    """The schema, with few partitions: keys shall meet."""
    connection = await asyncpg.connect(url)
    try:
        await schema.upgrade(connection, partitions=PARTITIONS)
    finally:
        await connection.close()


@contextmanager
def ground_on(url: str) -> Iterator[Ground]:
    """The connections of all examples on a prepared database."""
    ground = Ground(url)
    try:
        yield ground
    finally:
        ground.close()


def run(
    ground: Ground,
    *,
    examples: int,
    steps: int,
    number: int,
    shrink: bool = True,
    traces: list[list[str]] | None = None,
    progress: bool = False,
) -> Run:
    """Run the machine; a counter-example comes back as the problem, shrunk, with its trace in its notes."""

    class Seeded(Delivery):
        def teardown(self) -> None:
            super().teardown()
            if progress and self.examples % 50 == 0:
                print(f"{self.examples} examples, {time.monotonic() - began:.0f} s", flush=True)

    Seeded.ground, Seeded.traces = ground, traces
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    began, problem = time.monotonic(), None
    try:
        with _dead_processes_keep_their_connections(), _garbage_by_example():
            run_state_machine_as_test(
                seed(number)(Seeded),
                settings=settings(
                    max_examples=examples, stateful_step_count=steps, deadline=None, database=None, phases=phases,
                    suppress_health_check=list(HealthCheck), print_blob=False, report_multiple_bugs=False,
                ),
            )  # fmt: skip
    except Exception as error:  # noqa: BLE001 - told to whoever asked for the run
        problem = error
    return Run(Seeded.examples, Seeded.steps, Seeded.calls, time.monotonic() - began, problem)


@contextmanager
def _dead_processes_keep_their_connections() -> Iterator[None]:
    """A process that has crashed gives nothing back to its pool, of which SQLAlchemy tells when it is collected."""
    pool = logging.getLogger("sqlalchemy.pool")
    level = pool.level
    pool.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The garbage collector is trying to clean up", SAWarning)
        try:
            yield
        finally:
            gc.collect()
            pool.setLevel(level)


@contextmanager
def _garbage_by_example() -> Iterator[None]:
    """Nothing is collected but between two examples: what is found then would otherwise end connections in between."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def told(error: BaseException) -> str:
    """A counter-example, with what led to it."""
    notes: list[Any] = getattr(error, "__notes__", [])
    return "\n".join([*notes, f"{type(error).__name__}: {error}"])
