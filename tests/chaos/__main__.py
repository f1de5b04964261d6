"""Run the programs, print their verdicts, end with 0 if everything is as it must be and every twin was caught."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fastapi_events.embedded import EmbeddedServer
from tests.chaos import (
    bridge,
    cancels,
    durable_jobs,
    effectively_once,
    limits,
    schedules,
    ticks,
    transactional_publish,
    zombies,
)
from tests.chaos.application import warm_up
from tests.chaos.job_application import JobProgram
from tests.chaos.options import Options, Twin, read_options
from tests.chaos.tables import install
from tests.chaos.twins import check
from tests.chaos.verdict import Verdict, caught

Program = Callable[[EmbeddedServer, Path, Options, Path, Callable[[str], None]], bool]


def main() -> int:
    """The whole of it; returns the exit status."""
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, good, report = time.monotonic(), True, [f"seed {options.seed}"]

    def tell(text: str) -> None:
        report.append(text)
        print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="events-chaos-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        server = EmbeddedServer()
        try:
            warm = server.start(Path(temporary) / "server", database="chaos_warm")
            install(warm)
            asyncio.run(warm_up(warm, options))
            for program in options.programs:
                good &= PROGRAMS[program](server, Path(temporary) / "server", options, folder, tell)
        finally:
            server.stop()
        tell(f"{'GREEN' if good else 'RED'} after {time.monotonic() - began:.0f} s, seed {options.seed}")
        (folder / "verdict.txt").write_text("\n".join(report) + "\n")
    return 0 if good else 1


def _judged(verdict: Verdict, options: Options, tell: Callable[[str], None]) -> bool:
    tell(verdict.table())
    if options.twin == "none":
        return verdict.green
    was_caught, line = caught(options.twin, [verdict])
    tell(line)
    return was_caught


def _once(server: EmbeddedServer, data: Path, options: Options, logs: Path, tell: Callable[[str], None]) -> bool:
    url = EmbeddedServer.start(server, data, database="chaos_once")
    return _judged(effectively_once.Run(server, url, options, logs).perform(), options, tell)


def _schedules(server: EmbeddedServer, data: Path, options: Options, logs: Path, tell: Callable[[str], None]) -> bool:
    verdict = schedules.perform(server, data, options, logs, "none")
    tell(verdict.table())
    good = verdict.green
    for twin in TWINS:
        was_caught, line = caught(twin, [schedules.perform(server, data, options, logs, twin)])
        tell(line)
        good &= was_caught
    return good


def _publish(server: EmbeddedServer, data: Path, options: Options, logs: Path, tell: Callable[[str], None]) -> bool:
    verdict = transactional_publish.Run(server.start(data, database="chaos_publish"), options, logs).perform()
    tell(verdict.table())
    few = replace(options, requests=min(options.requests, 300))
    url = server.start(data, database="chaos_publish_outside")
    was_caught, line = caught("outside", [transactional_publish.Run(url, few, logs, "outside").perform()])
    tell(line)
    return verdict.green and was_caught


def _about_jobs(program: type[JobProgram], twin: Twin) -> Program:
    """The program, and a small one with its defect planted, each in a database of its own."""

    def perform(server: EmbeddedServer, data: Path, options: Options, logs: Path, tell: Callable[[str], None]) -> bool:
        check(twin)
        verdict = program(server.start(data, database=f"chaos_{twin}"), options, logs).perform()
        tell(verdict.table())
        broken = program(server.start(data, database=f"chaos_{twin}_broken"), options, logs, twin).perform()
        was_caught, line = caught(twin, [broken])
        tell(line)
        return verdict.green and was_caught

    return perform


TWINS: tuple[Twin, ...] = ("fencing", "mark", "crash")
PROGRAMS: dict[str, Program] = {
    "once": _once,
    "schedules": _schedules,
    "publish": _publish,
    "jobs": _about_jobs(durable_jobs.Run, "jobs"),
    "ticks": _about_jobs(ticks.Run, "ticks"),
    "bridge": _about_jobs(bridge.Run, "bridge"),
    "limits": _about_jobs(limits.Run, "limits"),
    "cancels": _about_jobs(cancels.Run, "cancels"),
    "zombies": _about_jobs(zombies.Run, "zombies"),
}

if __name__ == "__main__":
    sys.exit(main())
