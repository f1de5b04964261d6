"""A handler by name or wildcard takes every declared event that it selects, or its instance does not start."""

from collections.abc import Sequence
from typing import Any

import pytest

from fastapi_events import Event, Module, RawEvent
from fastapi_events.errors import InvalidHandler
from tests.delivery.stage import Stage, publish


class Gone(Event, name="misc.thing.gone"):
    """What the handlers below are annotated for."""


class Come(Event, name="misc.thing.come"):
    """What they select, too."""


class Dull(Event, name="misc.noise.heard", tier="audit"):
    """What no durable handler is given."""


def asking(annotation: Any, selects: str, **options: Any) -> Module:
    module = Module("misc")

    async def handle(event: Any) -> None: ...

    handle.__annotations__["event"] = annotation
    module.on(selects, **options)(handle)
    return module


@pytest.mark.parametrize(
    ("annotation", "selects", "options", "told"),
    [
        (
            Gone,
            "misc.*",
            {},
            r"selects 'misc\.\*', and with it .*\.Come, which its first parameter, 'event', annotated",
        ),
        (Gone | RawEvent, "misc.thing.*", {}, r"Annotate it Event, Event \| RawEvent \(an event of no known class"),
        (list[Gone], "misc.*", {"batch": 5}, r"Annotate it list\[Event\], list\[Event \| RawEvent\]"),
        (Gone, "misc.thing.come", {}, r"selects 'misc\.thing\.come', and with it .*\.Come"),
        (Gone | Come, "misc.*", {"broadcast": True, "audit": True}, r"and with it .*\.Dull"),
    ],
)
async def test_what_it_does_not_take_is_refused(
    stage: Stage, annotation: Any, selects: str, options: Any, told: str
) -> None:
    with pytest.raises(InvalidHandler, match=rf"handler 'misc.handle' .*{told}"):
        await stage.idle(asking(annotation, selects, **options))


@pytest.mark.parametrize(
    ("annotation", "options"),
    [
        (Gone | Come, {}), (Event, {}), (Event | RawEvent, {}), (RawEvent, {}), (object, {}), (Any, {}),
        (Sequence[Gone | Come], {"batch": 5}), (list[RawEvent], {"batch": 5}), (list, {"batch": 5}),
        (Gone | Come, {"broadcast": True}),
    ],
)  # fmt: skip
async def test_what_takes_all_is_accepted(stage: Stage, annotation: Any, options: Any) -> None:
    events = await stage.idle(asking(annotation, "misc.*", **options))
    await publish(events, [Gone(), Come()])
    await events.drain_once()
    assert await stage.deliveries() == []
