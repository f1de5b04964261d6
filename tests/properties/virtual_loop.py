"""An event loop of one simulated process: no sockets, no threads, and a clock that only its owner moves."""

from __future__ import annotations

import asyncio
import itertools
import math
from asyncio import base_events
from typing import Any

_NUMBERS = itertools.count()


def number_anew() -> None:
    """Begin at nothing with the next task: where a set has its members depends on the numbers themselves."""
    global _NUMBERS  # noqa: PLW0603 - there is one example at a time
    _NUMBERS = itertools.count()


class _Nothing:
    """The selector of a loop that waits for nothing: store calls are answered from outside."""

    def select(self, _timeout: float | None) -> list[Any]:
        return []


class _Numbered:
    """Hashed by age instead of by address: sets of tasks are walked in the same order in every run."""

    _number: int

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class NumberedTask(_Numbered, asyncio.Task[Any]):
    """A task of a virtual loop."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._number = next(_NUMBERS)
        super().__init__(*arguments, **options)


class NumberedFuture(_Numbered, asyncio.Future[Any]):
    """A future of a virtual loop."""

    def __init__(self, **options: Any) -> None:
        self._number = next(_NUMBERS)
        super().__init__(**options)


class VirtualLoop(base_events.BaseEventLoop):
    """``settle()`` runs until nothing is ready: every task is done, or waits for a future or a timer.

    Timers are put off to the next full second, so that jitter and real time decide no order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Nothing()
        self.now = 0.0
        self.problems: list[str] = []
        self.set_task_factory(NumberedTask_of)
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return NumberedFuture(loop=self)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return super().call_at(when if math.isinf(when) else math.ceil(when), callback, *args, context=context)

    def settle(self) -> None:
        """Run until this process can do nothing more by itself."""
        if self.is_ready:
            self.run_forever()

    @property
    def is_ready(self) -> bool:
        """Whether something can be run: callbacks, or timers whose time has come."""
        return bool(self._ready) or (bool(self._scheduled) and self._scheduled[0].when() <= self.now)

    def halt(self) -> None:
        """Forget every timer."""
        for handle in self._scheduled:
            handle.cancel()
        self._scheduled.clear()

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        if not self.is_ready:
            self.stop()

    def _process_events(self, _events: Any) -> None:
        return

    def _write_to_self(self) -> None:
        return

    def _note(self, _loop: Any, context: dict[str, Any]) -> None:
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")


def NumberedTask_of(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> NumberedTask:  # noqa: N802
    return NumberedTask(coroutine, loop=loop, **options)
