"""How values are written."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fastapi_events.dashboard import formats
from fastapi_events.dashboard.charts import HEIGHT, bar_chart


def test_relative_times_have_one_unit() -> None:
    now = datetime.now(UTC)
    for seconds, words in (
        (3, "3 s ago"),
        (61, "1 min ago"),
        (3_700, "1 h ago"),
        (100_000, "27 h ago"),
        (260_000, "3 d ago"),
    ):
        assert formats.ago(now - timedelta(seconds=seconds)) == words
    assert formats.ago(now + timedelta(seconds=90.5)) == "in 1 min"


def test_durations_have_the_precision_that_matters() -> None:
    given = [0.0004, 0.0412, 2.314, 75, None]
    assert [formats.duration(seconds) for seconds in given] == ["0.4 ms", "41 ms", "2.31 s", "1 min", "–"]


def test_absolute_times_are_utc() -> None:
    moment = datetime.fromisoformat("2026-01-31T12:00:00.123456+02:00")
    assert formats.absolute(moment) == "2026-01-31 10:00:00.123 UTC"


def test_counts_and_ids() -> None:
    assert formats.count(1234567) == "1,234,567"
    assert formats.count(10_000, capped=True) == "10,000+"
    assert formats.middle("01a1fd14-aa10-74a7-a53f-8718d62eae79") == "01a1fd14…ae79"
    assert formats.middle("short") == "short"


def test_json_is_laid_out_with_exact_numbers() -> None:
    value = {"a": [1, Decimal("0.10"), {}], "b": {"c": "ü\n"}, "d": [], "e": None}
    assert formats.pretty(value) == (
        '{\n  "a": [\n    1,\n    0.10,\n    {}\n  ],\n  "b": {\n    "c": "ü\\n"\n  },\n  "d": [],\n  "e": null\n}'
    )


def test_a_chart_is_zero_based_and_shows_the_smallest() -> None:
    chart = bar_chart([0, 1, 1000])
    assert [bar.height for bar in chart.bars] == [0, 1.5, HEIGHT]
    assert (chart.highest, chart.total) == (1000, 1001)
    assert bar_chart([]).bars == ()
