"""Standing in for a handler: its function is replaced, everything around it stays."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NamedTuple

from fastapi_events.engine.handlers import Handler
from fastapi_events.errors import NotFound
from fastapi_events.testing.instance import Instance
from fastapi_events.testing.services import handlers_of

SideEffect = BaseException | type[BaseException] | Callable[..., Any] | Iterable[Any] | None


class Call(NamedTuple):
    """One call: the event, and what else the handler's signature asks for (sessions, publishers, dependencies).

    A batch handler's ``event`` is the list of events that it was called with.
    """

    event: Any
    arguments: dict[str, Any]


class HandlerMock:
    """Records the calls of a handler and does in each what ``side_effect`` says.

    ``side_effect`` is None (succeed), an exception or exception class (fail each time), a function (called with what
    the handler is called with; what it raises is the failure), or an iterable of exceptions and other values, one for
    each call (fail, or succeed), after which calls succeed. It may be set anew at any time.
    """

    def __init__(self, handler: str, side_effect: SideEffect = None) -> None:
        self.handler = handler
        self.calls: list[Call] = []
        self.side_effect = side_effect

    @property
    def side_effect(self) -> SideEffect:
        """What the calls do."""
        return self._side_effect

    @side_effect.setter
    def side_effect(self, effect: SideEffect) -> None:
        self._side_effect = effect
        self._effects = _one_by_one(effect)

    @property
    def events(self) -> list[Any]:
        """The events that it was given, in order, a redelivered one each time; of a batch handler the lists."""
        return [call.event for call in self.calls]

    @property
    def called(self) -> bool:
        """Whether it was called at all."""
        return bool(self.calls)

    @property
    def call_count(self) -> int:
        """How often it was called."""
        return len(self.calls)

    def assert_called_once(self) -> Any:
        """The only event that it was given; an ``AssertionError`` if it was called never, or more than once."""
        __tracebackhide__ = True
        if len(self.calls) != 1:
            raise AssertionError(f"{self!r} was called {len(self.calls)} times, not once: {self.events!r}")
        return self.calls[0].event

    def assert_not_called(self) -> None:
        """An ``AssertionError`` if it was called."""
        __tracebackhide__ = True
        if self.calls:
            raise AssertionError(f"{self!r} was called {len(self.calls)} times: {self.events!r}")

    def __repr__(self) -> str:
        return f"<HandlerMock of {self.handler!r}>"

    def call(self, event: Any, arguments: dict[str, Any]) -> Any:
        """What stands in for the handler calls: record it, and do what is to be done."""
        self.calls.append(Call(event, arguments))
        effect: Any = self._side_effect if self._effects is None else next(self._effects, None)
        if _is_failure(effect):
            raise effect
        return effect(event, **arguments) if self._effects is None and effect is not None else None


@contextmanager
def mock_handler(
    events: Instance, handler: str | Callable[..., Any], *, side_effect: SideEffect = None
) -> Generator[HandlerMock]:
    """Replace a handler's function for a block of code, and restore it afterwards.

    ``handler`` is its id, as the dashboard and ``fastapi-events handlers`` show it, or its function. Only the function
    is replaced: the events are claimed, validated, retried and settled as ever, with the handler's own policy, session
    and marks.

    Raises ``NotFound``, with the near misses, for what is no handler of the instance, or the function of several, and
    ``NotStarted``.

    Example::

        with mock_handler(events, "inventory.reserve_stock", side_effect=[TimeoutError(), None]) as mock:
            await events.publish(OrderPlaced(order_id=1))
            await events.drain_once()
        assert mock.call_count == 2
    """
    found = _found(events, handler)
    mock = HandlerMock(found.id, side_effect)
    original, found.function = found.function, _stand_in(found, mock)
    try:
        yield mock
    finally:
        found.function = original


def _one_by_one(effect: Any) -> Iterator[Any] | None:
    return None if effect is None or callable(effect) or isinstance(effect, BaseException) else iter(effect)


def _is_failure(effect: Any) -> bool:
    return isinstance(effect, BaseException) or (inspect.isclass(effect) and issubclass(effect, BaseException))


def _stand_in(handler: Handler, mock: HandlerMock) -> Callable[..., Any]:
    async def on_the_loop(event: Any, **arguments: Any) -> Any:
        result = mock.call(event, arguments)
        return await result if inspect.isawaitable(result) else result

    def in_a_thread(event: Any, **arguments: Any) -> Any:
        result = mock.call(event, arguments)
        return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

    return on_the_loop if handler.is_async else in_a_thread


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _found(events: Instance, wanted: str | Callable[..., Any]) -> Handler:
    known = handlers_of(events)
    if not isinstance(wanted, str):
        return known[_id_of(wanted, known)]
    if wanted in known:
        return known[wanted]
    near = get_close_matches(wanted, known, n=3) or [one for one in known if one.endswith(f".{wanted}")]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are: {', '.join(sorted(known))}."
    raise NotFound(f"mock_handler(): this instance has no handler with the id {wanted!r}. {hint}")


def _id_of(function: object, known: Mapping[str, Handler]) -> str:
    found = sorted(handler.id for handler in known.values() if handler.declaration.function == function)
    if len(found) == 1:
        return found[0]
    shown = getattr(function, "__qualname__", None) or ascii(function)[:80]
    what = f"the function of {len(found)} handlers" if found else "no handler's function"
    raise NotFound(
        f"mock_handler(): {shown} is {what} of this instance. Give the id: one of {', '.join(found or sorted(known))}."
    )
