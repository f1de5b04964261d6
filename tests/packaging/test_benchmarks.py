"""What ``python -m benchmarks`` offers is there, and said to be; what it tells of settings and figures is right."""

import asyncio
import importlib
from collections.abc import Mapping
from functools import partial

import pytest

from benchmarks import points, subjects
from benchmarks.points.drain import Meter
from benchmarks.processes import ROOT
from benchmarks.rounds import Figures, Rounds
from benchmarks.tuning import tune


@pytest.mark.parametrize("name", points.NAMES)
def test_every_point_has_a_module_and_is_described(name: str) -> None:
    module = importlib.import_module(f"benchmarks.points.{name}")
    assert asyncio.iscoroutinefunction(module.run)
    assert module.__doc__
    assert f"| `{name}` | `points/{name}.py` |" in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_groups_are_of_points_and_subjects_of_points_are_known() -> None:
    assert {name for group in points.GROUPS.values() for name in group} == set(points.NAMES)
    assert set(points.ALONE) <= set(points.NAMES)
    assert {*points.ALONE.values(), *subjects.OF_EVENTS, *subjects.OF_JOBS} == set(subjects.NAMES)


async def test_the_best_setting_of_each_product_is_measured() -> None:
    figures: Mapping[str, float] = {"a@n=1": 10.0, "a@n=2": 30.0, "a@n=3": 20.0}
    asked: list[str] = []

    async def measure(name: str) -> Figures:
        asked.append(name)
        return {"rate": figures[name]}

    tuned = await tune({"a": tuple(figures), "b": ("b",)}, partial(measure), 2, figure="rate")
    assert tuned.best == {"a": "a@n=2", "b": "b"}
    assert asked == [*figures, *figures]
    assert tuned.notes == ["a was tried with n 1: 10/s, n 2: 30/s, n 3: 20/s; measured with n 2."]


def test_ratios_are_of_one_round_each() -> None:
    rounds = Rounds(
        {"a": [{"rate": 1.0}, {"rate": 20.0}, {"rate": 3.0}], "b": [{"rate": 2.0}, {"rate": 5.0}, {"rate": 1.0}]}
    )
    spread = rounds.ratio(("a", "rate"), ("b", "rate"))
    assert (spread.median, spread.smallest, spread.largest, spread.rounds) == (3.0, 0.5, 4.0, 3)


async def test_a_meter_leaves_the_warm_up_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("benchmarks.points.drain.perf_counter", lambda: now)
    meter = Meter(50)
    for number in range(1, 51):
        now = 100.0 + number
        assert meter.warm == (number > 2 + 1)
        meter(None)
    await meter.finished.wait()
    assert meter.rate == 1.0
    assert meter.rate_until(198.0) == 0.5
