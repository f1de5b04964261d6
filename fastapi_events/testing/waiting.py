"""Waiting for an event to be published, or handled, without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from fastapi_events.errors import NotFound
from fastapi_events.model.event import Event, EventOptions
from fastapi_events.testing.instance import Instance
from fastapi_events.testing.published import PublishedEvent, PublishedEvents
from fastapi_events.testing.services import handles_by_itself, news_of
from fastapi_events.testing.telling import found_instead

Ev = TypeVar("Ev", bound=Event)
Wanted = Literal["done", "discarded", "dead"]

ELSEWHERE = 0.1
"""Seconds between looks at what other processes do, which tell nobody when they are done with an event."""


async def wait_for(
    events: Instance, event_class: type[Ev], /, *, handler: str | None = None, state: Wanted = "done",
    timeout: float = 5.0, where: Callable[[Ev], bool] | None = None, **fields: object,
) -> PublishedEvent[Ev]:  # fmt: skip
    """Wait until such an event has been committed, or, with ``handler``, until that handler is through with it.

    ``fields`` and ``where`` say which event; of several the first one counts. ``handler`` is a handler's id and
    ``state`` what is to become of its delivery. An instance whose loops are off handles what is there first, by
    ``drain_once()``. What happens in this process is heard of at once.

    Raises ``AssertionError`` after ``timeout`` seconds, or as soon as the delivery has ended in another way; it says
    what there was instead. Raises ``NotFound`` for an unknown handler, for one that is not given such events, and for
    a broadcast handler, of which nothing is recorded; ``UnknownOption`` for an unknown field, and ``NotStarted``.
    """
    __tracebackhide__ = True
    if handler is not None:
        _check_handler(events, handler, event_class)
    published = PublishedEvents(events)
    if not handles_by_itself(events):
        await events.drain_once()
    loop, standing = asyncio.get_running_loop(), ""
    until = loop.time() + timeout
    with news_of(events).heard() as news:
        while True:
            news.clear()
            found = await published.all(event_class, where=where, **fields)
            if found and handler is None:
                return found[0]
            for one in found:
                reached, standing = await _standing(events, one, str(handler), state)
                if reached:
                    return one
            left = until - loop.time()
            if left <= 0:
                raise AssertionError(
                    await _too_late(published, event_class, where, fields, found, standing, handler, timeout)
                )
            try:
                async with asyncio.timeout(min(left, ELSEWHERE)):
                    await news.wait()
            except TimeoutError:
                pass


def _check_handler(events: Instance, handler: str, event_class: type[Event]) -> None:
    """Raise ``NotFound`` for a handler that nobody could ever see to be through with such an event."""
    known = {**events.registry.handlers, **events.registry.triggers}
    options: EventOptions | None = getattr(event_class, "__event_options__", None)
    if (found := known.get(handler)) is None:
        near = get_close_matches(handler, known, n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are: {', '.join(sorted(known))}."
        raise NotFound(f"wait_for(): this instance has no handler with the id {handler!r}. {hint}")
    if found.broadcast:
        raise NotFound(
            f"wait_for(): {handler!r} is a broadcast handler: nothing is recorded of what it is given, so nobody can "
            "tell when it is through. Leave handler= out and await events.drain_once(), which calls it, or wait for "
            "what it does."
        )
    if options is not None and not found.hears(options.name, audit=options.tier == "audit"):
        raise NotFound(
            f"wait_for(): {handler!r} takes {found.selects!r}, and is never given {options.name!r}. Name a handler "
            "that is."
        )


async def _standing(events: Instance, one: PublishedEvent[Any], handler: str, wanted: Wanted) -> tuple[bool, str]:
    """Whether the handler has brought the event where it is to be, and else where it is."""
    detail = await events.observe.event(one.id)
    if detail is None:
        return False, "it is scheduled" if one.due_at is not None else "it is gone from the log"
    delivery = next((each for each in detail.deliveries if each.handler == handler), None)
    if delivery is None:
        return False, f"{handler} does not take {one.name}"
    if delivery.state == wanted:
        return True, ""
    told = f"{handler} has it {delivery.state}"
    if delivery.reason is not None:
        told += f" ({delivery.reason})"
    if delivery.attempts:
        told += f" after {delivery.attempts} attempts"
    if delivery.error_type is not None:
        told += f": {delivery.error_type}: {delivery.error_message}"
    if delivery.state in ("done", "dead", "discarded"):
        raise AssertionError(f"{one.event!r} was to be {wanted}, but {told}")
    return False, told


async def _too_late(
    published: PublishedEvents, event_class: type[Ev], where: Callable[[Ev], bool] | None, fields: dict[str, object],
    found: Sequence[PublishedEvent[Ev]], standing: str, handler: str | None, timeout: float,
) -> str:  # fmt: skip
    if found:
        return f"waited {timeout:g} s for {handler} to be through with {found[-1].event!r}: {standing}"
    instead = found_instead(event_class, where, fields, await published.everything(), 0, "one")
    return f"waited {timeout:g} s. {instead}"
