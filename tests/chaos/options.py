"""What can be chosen on the command line."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Twin = Literal["none", "crash", "fencing", "mark", "outside", "jobs", "ticks", "bridge", "limits", "cancels", "zombies"]
PROGRAMS = ("once", "schedules", "publish", "jobs", "ticks", "bridge", "limits", "cancels", "zombies")


@dataclass(frozen=True, slots=True)
class Options:
    """``seconds`` of feeding, ``lease`` in seconds; the other times follow from them."""

    programs: tuple[str, ...]
    seconds: float
    events: int
    requests: int
    runs: int
    quick: bool
    workers: int
    lease: float
    seed: int
    twin: Twin
    kill_every: float
    keep: Path | None

    @property
    def heartbeat(self) -> float:
        """Seconds between renewals, in the product's own proportion to the lease."""
        return self.lease * 0.3

    @property
    def poll_interval(self) -> float:
        """Seconds between looks at the log, in the product's own proportion to the lease."""
        return self.lease * 0.5


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("programs", nargs="*", choices=[*PROGRAMS, []], metavar="|".join(PROGRAMS))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long events are fed (60)")
    parser.add_argument("--events", type=int, default=10_000, help="domain rows with an event each (10 000)")
    parser.add_argument("--requests", type=int, default=10_000, help="requests of 'publish' (10 000)")
    parser.add_argument("--runs", type=int, default=2_000, help="runs of 'jobs' (2 000)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="little of 'ticks', 'bridge', 'limits', 'cancels', 'zombies', as for a twin",
    )
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds (2)")
    parser.add_argument("--kill-every", type=float, default=0.3, help="seconds between two kills (0.3)")
    parser.add_argument("--seed", type=int, default=None, help="of everything random (drawn and printed)")
    parser.add_argument(
        "--twin", choices=["none", "fencing", "mark"], default="none", help="plant this defect in 'once'"
    )
    parser.add_argument("--keep", type=Path, default=None, help="folder for verdict.txt and the processes' logs")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    return Options(
        tuple(given.programs) or PROGRAMS, given.seconds, given.events, given.requests, given.runs, given.quick,
        given.workers, given.lease, seed, given.twin, given.kill_every, given.keep,
    )  # fmt: skip
