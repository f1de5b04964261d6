"""Any schedule of the engine's store calls keeps its promises. ``make properties`` runs far more of them."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import run_once, url_of
from tests.properties.running import Run, ground_on, prepare, run, told
from tests.properties.twins import TWINS, plant

Play = Callable[..., Run]


@pytest_asyncio.fixture(scope="module")
async def prepared(server_url: str) -> AsyncIterator[str]:
    """A database with few partitions, for the examples of this file."""
    await run_once(server_url, "CREATE DATABASE events_properties")
    url = url_of(server_url, "events_properties")
    await prepare(url)
    yield url
    await run_once(server_url, "DROP DATABASE events_properties WITH (FORCE)")


@pytest.fixture(scope="module")
def play(prepared: str) -> Any:
    """Run so many examples from a seed, on connections that all runs share."""
    with ground_on(prepared) as ground:

        def playing(**options: Any) -> Run:
            return run(ground, **options)

        yield playing


def test_any_schedule_keeps_the_promises_of_delivery(play: Play) -> None:
    done = play(examples=6, steps=50, number=1)
    assert done.problem is None, told(done.problem)
    assert done.examples >= 6


def test_a_seed_repeats_the_same_store_calls(play: Play) -> None:
    traces: list[list[list[str]]] = [[], []]
    for run_of_traces in traces:
        assert play(examples=3, steps=50, number=2, traces=run_of_traces).problem is None
    assert sum(map(len, traces[0])) > 50
    assert traces[0] == traces[1]


def test_a_planted_defect_is_found(play: Play) -> None:
    with plant("parked-keys"):
        assert play(examples=60, steps=50, number=1, shrink=False).problem is not None


@pytest.mark.long
@pytest.mark.parametrize("twin", sorted(TWINS))
def test_every_planted_defect_is_found(play: Play, twin: str) -> None:
    with plant(twin):
        assert play(examples=400, steps=50, number=1, shrink=False).problem is not None
