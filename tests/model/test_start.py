"""``start=``: what is no place in the log is refused where it is written."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fastapi_events import Event, Events, Module
from fastapi_events.errors import ContradictoryOptions
from fastapi_events.model.start import Start


class ParcelLost(Event, name="depot.parcel.lost"):
    number: int = 0


SINCE = datetime(2026, 1, 31, 12, tzinfo=UTC)


def declared(start: Any, **options: Any) -> Module:
    module = Module("depot")

    @module.on(ParcelLost, start=start, **options)
    async def handle(event: ParcelLost) -> None: ...

    return module


@pytest.mark.parametrize(
    ("start", "kept"),
    [("now", None), ("beginning", Start()), (0, Start()), (1200, Start(1200)), (SINCE, Start(since=SINCE))],
)
def test_words_positions_and_moments_are_places_to_start_from(start: Any, kept: Start | None) -> None:
    module = declared(start)
    assert module.handlers[0].start == kept
    Events([module])


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("begining", "start='begining' is no place to start from. Write .* Did you mean 'beginning'?"),
        ("2026-01-31", "or a datetime with a time zone"),
        (True, "start=True is no place"),
        (1.5, "start=1.5 is no place"),
        (None, "start=None is no place"),
        (timedelta(days=1), "is no place to start from"),
        (-1, "start=-1 is no position in the log: .* Write start='beginning'"),
        (2**63, "is no position in the log"),
        (datetime(2026, 1, 31), "has no time zone, .* Write datetime(..., tzinfo=UTC)"),  # noqa: DTZ001
        (datetime(9000, 1, 1, tzinfo=UTC), "is in the future, .* Write start='now'"),
        (
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            "is before the year 1 in UTC. Write start='beginning'",
        ),
    ],
)
def test_what_is_no_place_is_refused_with_the_mend(start: Any, message: str) -> None:
    pattern = ".*".join(re.escape(part) for part in ("handler 'depot.handle': ", *message.split(" .* ")))
    with pytest.raises(ContradictoryOptions, match=pattern):
        declared(start)


def test_a_broadcast_handler_has_no_history() -> None:
    with pytest.raises(ContradictoryOptions, match=r"'depot.handle': start= does not go with broadcast=True"):
        declared("beginning", broadcast=True)
    assert declared("now", broadcast=True).handlers[0].start is None
