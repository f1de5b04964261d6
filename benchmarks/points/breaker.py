"""A service is down for a minute while 10 000 events wait for the one handler that needs it.

Other events, of the same lane and with a handler of their own, are published at 50 a second, first with nothing else to
do. Then 10 000 payments of 500 customers become visible at once, and from the first attempt on their handler fails, for
60 s. Once all of them wait, the other events are published again until shortly before the outage ends. Counted are the
attempts that failed, which may be: the breaker's threshold, what ran beside those when it opened (at most the lane's
concurrency), and one probe per recovery time. Afterwards every payment must have been handled once, in order per
customer, and nothing may be dead or left, else the point fails.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING

from benchmarks.child import Parent
from benchmarks.deliveries import counted, until_waiting
from benchmarks.points.latency import publish_evenly
from benchmarks.processes import Child, child
from benchmarks.recording import NANOSECONDS, Recording, first_of_each, load, milliseconds, quantile
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, Committed

if TYPE_CHECKING:
    from benchmarks.ours import OrderPlaced
    from benchmarks.troubled import PaymentDue

_PAYMENTS = (10_000, 1_000)
_CUSTOMERS = (500, 50)
_OUTAGE_SECONDS = (60, 15)
_RECOVERY_SECONDS = (30, 6)
_BEFORE_SECONDS = (20, 4)
_PER_SECOND = 50
_WARM_UP = 2 * _PER_SECOND
# The publisher of other events has to start within it, and to end before the outage does.
_MARGIN_SECONDS = 3.0
_DRAINING_SECONDS = 1.0
_DEADLINE_SECONDS = 240.0
_FIRST_DURING = 1_000_001
_UNITS = {
    "others' p50 before": "ms",
    "others' p50 during": "ms",
    "others' p99 before": "ms",
    "others' p99 during": "ms",
    "all waiting after": "s",
    "failed attempts": "",
    "dead letters": "",
    "end of the outage to first success": "s",
    "first success to last": "s",
}


class ServiceDownError(Exception):
    """What a payment's handler raises during the outage."""


class Outage:
    """Begins with the first payment tried, lasts for ``seconds``, and counts what failed meanwhile."""

    def __init__(self, seconds: float, expected: int, parent: Parent) -> None:
        self.successes = Recording()
        self.finished = asyncio.Event()
        self._seconds, self._left, self._parent = seconds, expected, parent
        self._failed = self._ends = 0

    def pay(self, payment: PaymentDue) -> None:
        """Handle a payment, or raise."""
        instant = monotonic_ns()
        if not self._ends:
            self._ends = instant + int(self._seconds * NANOSECONDS)
            self._parent.tell(ends=self._ends)
        if instant < self._ends:
            self._failed += 1
            raise ServiceDownError("no answer")
        self.successes.note(payment.number, instant)
        self._left -= 1
        if not self._left:
            self._parent.tell(failed=self._failed)


async def consume(
    parent: Parent, *, url: str, path: str, expected: int, outage_seconds: float, recovery_seconds: float
) -> None:
    """Measured process: the worker, until told to stop. It says when the outage will end, and when all is handled."""
    from benchmarks import troubled
    from fastapi_events import Breaker

    starts, outage = Recording(), Outage(outage_seconds, expected, parent)

    def other(event: OrderPlaced) -> None:
        instant = monotonic_ns()
        starts.note(event.number, instant)

    module = troubled.beside_failing(other, outage.pay, Breaker(recovery=recovery_seconds))
    async with troubled.working(url, module):
        parent.tell(ready=True)
        await parent.order()
    starts.save(f"{path}.others")
    outage.successes.save(f"{path}.payments")
    parent.tell(saved=True)


async def produce(parent: Parent, *, url: str, path: str, first: int, count: int) -> None:
    """Measured process: other events, at an even pace."""
    from benchmarks import ours

    returned = Recording()
    async with ours.running(url) as application:

        async def publish(number: int) -> Committed:
            return await application.commit_events([number])

        await publish_evenly(publish, range(first, first + count), _PER_SECOND, Recording(), returned)
    returned.save(path)
    parent.tell(saved=True)


async def _others(stage: Stage, url: str, *, first: int, seconds: float) -> dict[int, int]:
    """Publish other events for so many seconds after the warm-up; when each one's COMMIT that counts had returned."""
    path = stage.folder / "others"
    count = _WARM_UP + int(seconds * _PER_SECOND)
    async with child(produce, url=url, path=str(path), first=first, count=count) as publisher:
        await publisher.message()
    await asyncio.sleep(_DRAINING_SECONDS)
    return {number: instant for number, instant in load(path) if number >= first + _WARM_UP}


@asynccontextmanager
async def _settled(stage: Stage) -> AsyncIterator[str]:
    async with stage.installed(OURS) as url:
        await settle(url)
        yield url


@dataclass(frozen=True)
class Seen:
    """What the parent saw of one outage: when others were committed, when it ended, what failed and what was left."""

    before: dict[int, int]
    during: dict[int, int]
    ends: float
    waiting_after: float
    failed: int
    states: Counter[str]


async def _measure(stage: Stage) -> Figures:
    handled, expected = stage.folder / "handled", stage.scaled(*_PAYMENTS)
    lengths = {"outage_seconds": stage.scaled(*_OUTAGE_SECONDS), "recovery_seconds": stage.scaled(*_RECOVERY_SECONDS)}
    async with (
        _settled(stage) as url,
        child(consume, url=url, path=str(handled), expected=expected, **lengths) as worker,
    ):
        await worker.message()
        seen = await _outage(stage, url, worker)
        await worker.stop()
    payments, starts = load(Path(f"{handled}.payments")), first_of_each(load(Path(f"{handled}.others")))
    _check(payments, seen.states, expected=expected, customers=stage.scaled(*_CUSTOMERS))
    instants = [instant / NANOSECONDS for _, instant in payments]
    figures = {
        "all waiting after": seen.waiting_after,
        "failed attempts": float(seen.failed),
        "dead letters": float(seen.states["dead"]),
        "end of the outage to first success": min(instants) - seen.ends,
        "first success to last": max(instants) - min(instants),
        "bound": float(_bound(**lengths)),
    }
    for name, published in (("before", seen.before), ("during", seen.during)):
        waited = milliseconds(published, starts)
        figures |= {f"others' p50 {name}": quantile(waited, 0.5), f"others' p99 {name}": quantile(waited, 0.99)}
    return figures


async def _outage(stage: Stage, url: str, worker: Child) -> Seen:
    from benchmarks import troubled

    expected = stage.scaled(*_PAYMENTS)
    before = await _others(stage, url, first=1, seconds=stage.scaled(*_BEFORE_SECONDS))
    await troubled.load_payments(url, expected, stage.scaled(*_CUSTOMERS))
    ends = (await worker.message())["ends"] / NANOSECONDS
    await until_waiting(stage.server, url, expected, deadline=ends - monotonic())
    waiting_after = monotonic() - (ends - stage.scaled(*_OUTAGE_SECONDS))
    left = ends - monotonic() - _MARGIN_SECONDS - _WARM_UP / _PER_SECOND
    during = await _others(stage, url, first=_FIRST_DURING, seconds=left)
    if max(during.values()) / NANOSECONDS > ends:
        raise RuntimeError("other events were published after the outage: it must be longer, or the margin.")
    failed = await _all_handled(stage, url, worker)
    await until_waiting(stage.server, url, 0, deadline=_DEADLINE_SECONDS)
    return Seen(before, during, ends, waiting_after, failed, await counted(stage.server, url))


async def _all_handled(stage: Stage, url: str, worker: Child) -> int:
    """Wait until every payment has succeeded; returns the number of attempts that failed."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return int((await worker.message())["failed"])
    except TimeoutError:
        states = dict(await counted(stage.server, url))
        raise RuntimeError(
            f"not all payments were handled {_DEADLINE_SECONDS:g} s after the outage; deliveries stand so: {states}."
        ) from None


def _bound(*, outage_seconds: float, recovery_seconds: float) -> int:
    """The attempts that an outage may cost."""
    from benchmarks import troubled
    from fastapi_events import Breaker

    return Breaker().threshold + troubled.concurrency("change") + int(outage_seconds / recovery_seconds)


def _check(payments: list[tuple[int, int]], states: Counter[str], *, expected: int, customers: int) -> None:
    """Raise if a payment was not handled once, or not in the order of its customer, or is not recorded as done."""
    if sorted(number for number, _ in payments) != list(range(expected)):
        raise RuntimeError(f"{expected} payments were to be handled once each; there were {len(payments)} successes.")
    by_customer: defaultdict[int, list[int]] = defaultdict(list)
    for number, _ in payments:
        by_customer[number % customers].append(number)
    mixed_up = [customer for customer, numbers in by_customer.items() if numbers != sorted(numbers)]
    if mixed_up:
        raise RuntimeError(f"the payments of {len(mixed_up)} customers were handled out of order, e.g. {mixed_up[0]}.")
    if states["waiting"] or states["discarded"]:
        raise RuntimeError(f"every payment had been handled, but its deliveries stand so: {dict(states)}.")


async def run(stage: Stage) -> Finding:
    """Ours alone: the comparison is between before and during the same outage."""
    rounds = await interleave(stage.rounds, {OURS: partial(_measure, stage)}, title="breaker")
    outage, recovery = stage.scaled(*_OUTAGE_SECONDS), stage.scaled(*_RECOVERY_SECONDS)
    attempts = f"failed attempts / (threshold + concurrency + {outage} s of outage / {recovery} s of recovery)"
    return Finding(
        title="An outage: one handler only fails while events wait for it",
        how=f"{stage.scaled(*_PAYMENTS)} events of {stage.scaled(*_CUSTOMERS)} keys; the handler fails for {outage} s, "
        f"with a breaker that is tried every {recovery} s. Others: events of the same lane, {_PER_SECOND}/s, COMMIT "
        "returned to handler start in another process, before, and during the outage once all of those wait.",
        rows=[Row(OURS, name, unit or "count", rounds.spread(OURS, name)) for name, unit in _UNITS.items()],
        ratios=[
            Ratio("others' p99: during / before",
                  rounds.ratio((OURS, "others' p99 during"), (OURS, "others' p99 before")), ("≤", 1.5)),
            Ratio(attempts, rounds.ratio((OURS, "failed attempts"), (OURS, "bound")), ("≤", 1.0)),
            Ratio("dead letters", rounds.spread(OURS, "dead letters"), ("≤", 0.0)),
        ],
        notes=["Every payment was handled once, in order per customer, in every round."],
    )  # fmt: skip
