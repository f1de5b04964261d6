"""Waking the loops of this process: in memory, from any thread, coalesced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable

from fastapi_events.engine.news import News
from fastapi_events.model.lane import PLACES_PER_LANE, LogPlace
from fastapi_events.model.run_start import AWAITING, CANCELED, READY, REPLACED, RUNS, WAITING


class LaneFlag(asyncio.Event):
    """Set while events may wait in a lane: in some partitions of it, or anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self._partitions: set[int] | None = set()

    def set(self) -> None:
        """Events may wait in any partition."""
        self._partitions = None
        super().set()

    def add(self, partition: int) -> None:
        """Events may wait in this partition."""
        if self._partitions is not None:
            self._partitions.add(partition)
        super().set()

    def take(self) -> list[int] | None:
        """Where to look (None: anywhere), and forget it. To be called when the flag has been cleared."""
        taken, self._partitions = self._partitions, set()
        return None if taken is None else sorted(taken)


class LogFlag(asyncio.Event):
    """Set while events may wait in partitions of any lane, audit events too: for whoever reads without a group."""

    def __init__(self) -> None:
        super().__init__()
        self._places: set[LogPlace] | None = set()

    def set(self) -> None:
        """Events may wait anywhere."""
        self._places = None
        super().set()

    def add(self, places: Collection[LogPlace]) -> None:
        """Events may wait in these partitions."""
        if self._places is not None:
            self._places.update(places)
        super().set()

    def take(self) -> Collection[LogPlace] | None:
        """Where to look (None: anywhere), and forget it. To be called when the flag has been cleared."""
        taken, self._places = self._places, set()
        return taken


class RunsFlag(LaneFlag):
    """For runs of jobs: pools look for ready ones, and what waits for moments or holds leases looks after those."""

    def __init__(self) -> None:
        super().__init__()
        self.pools: list[asyncio.Event] = []
        self.due, self.leases = asyncio.Event(), asyncio.Event()
        self.events = LogFlag()
        """Events that runs may wait for; ``awaits`` says that they may wait at other places than those known."""
        self.awaits = True
        self.cancels = True
        """Whether runs may have to be cancelled that nobody runs."""

    def set(self) -> None:
        """Anything may have changed."""
        self.cancels = self.awaits = True
        for flag in (*self.pools, self.due, self.leases, self.events):
            flag.set()

    def add(self, partition: int) -> None:
        """What a notification said of runs: see ``fastapi_events.model.run_start``."""
        if partition == READY:
            for flag in self.pools:
                flag.set()
        elif partition == WAITING:
            self.due.set()
        elif partition == CANCELED:
            self.cancels = True
            self.leases.set()
            self.due.set()
        elif partition == AWAITING:
            self.awaits = True
            self.events.set()
        elif partition == REPLACED:
            self.cancels = True
            for flag in (*self.pools, self.due, self.leases):
                flag.set()


class Wake:
    """One flag per lane, one for parked keys and one for the plan of handlers.

    ``log`` is a flag for all of the log, if somebody wants one.

    Setting one twice before it is seen wakes once. Setting is safe from any thread and never blocks, so a commit hook
    may do it.
    """

    def __init__(self, lanes: Iterable[int]) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self.runs = RunsFlag()
        self.awaited: frozenset[int] = frozenset()
        """Places of the log at which runs wait for events."""
        self.lanes: dict[int, LaneFlag] = {lane: LaneFlag() for lane in lanes} | {RUNS: self.runs}
        self.keys = asyncio.Event()
        self.plan = asyncio.Event()
        self.log: LogFlag | None = None
        self.news = News()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which event loop the services run on."""
        self._loop = loop

    def lane(self, lanes: Collection[int] | None = None) -> None:
        """Events may wait in these lanes (None: in any)."""
        self._run(lambda: self._set(lanes))

    def places(self, places: Collection[LogPlace]) -> None:
        """Events may wait in these partitions of lanes."""
        self._run(lambda: self._add(places))

    def parked(self) -> None:
        """A parked key may have become due."""
        self._run(self.keys.set)

    def handlers(self) -> None:
        """Handlers may have changed: new ones, breakers, pauses."""
        self._run(self.plan.set)

    def everything(self) -> None:
        """Anything may wait: after a reconnect, or when the process stops."""
        self._run(self._set_all)

    def _set_all(self) -> None:
        self._set(None)
        self.keys.set()
        self.plan.set()

    def _set(self, lanes: Collection[int] | None) -> None:
        for number, flag in self.lanes.items():
            if lanes is None or number in lanes:
                flag.set()
        if self.log is not None:
            self.log.set()
        if self.awaited:
            self.runs.events.set()
        if self.news.waiting:
            self.news.tell()

    def _add(self, places: Collection[LogPlace]) -> None:
        for place in places:
            lane, partition = divmod(place, PLACES_PER_LANE)
            flag = self.lanes.get(lane)
            if flag is not None:
                flag.add(partition)
        if self.log is not None:
            self.log.add(places)
        if self.awaited and not self.awaited.isdisjoint(places):
            self.runs.events.add(places)
        if self.news.waiting:
            self.news.tell()

    def _run(self, action: Callable[[], None]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            same = asyncio.get_running_loop() is loop
        except RuntimeError:
            same = False
        if same:
            action()
        else:
            loop.call_soon_threadsafe(action)


class Pace:
    """Slows down looking for work that is not there, however often somebody says that there is.

    Anybody may send notifications. A few that turn out to be empty cost nothing, so that a process that is woken for
    what another one took is no slower; where they come faster than one in 15 ms there is soon a pause after each
    search, of 2 ms doubling to 50. The first work found ends it. It is held after a search and not before one: who
    calls after a quiet time is heard at once.
    """

    FREE, FIRST, LONGEST, FORGOTTEN_IN = 8, 0.002, 0.05, 0.015
    _MOST = FREE + 5

    def __init__(self) -> None:
        self._empty = 0.0

    @property
    def pause(self) -> float:
        """Seconds to wait before the flag is looked at again."""
        over = int(self._empty) - self.FREE
        return 0.0 if over < 0 else float(min(self.FIRST * 2**over, self.LONGEST))

    def note(self, *, waited: float, found: int) -> None:
        """Take note of a search: how many seconds nobody had called before it, and how much it found."""
        remembered = max(self._empty - waited / self.FORGOTTEN_IN, 0.0)
        self._empty = 0.0 if found else min(remembered + 1, float(self._MOST))


async def wait_for_flag(flag: asyncio.Event, seconds: float) -> bool:
    """Wait for the flag for at most ``seconds``, clear it, and say whether it was set."""
    if not flag.is_set():
        try:
            async with asyncio.timeout(seconds):
                await flag.wait()
        except TimeoutError:
            return False
    flag.clear()
    return True


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs the caller; None in a thread without one."""
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
