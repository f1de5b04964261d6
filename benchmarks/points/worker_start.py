"""How soon a worker process claims its first event.

``fastapi-events worker`` is started on a module that notes when its import began and ended, in a database where ten
events wait. The first start of the handler stands for the claim, which comes before it. Reported are the time from the
end of the user's module's import to it, the import itself, and the whole from the start of the process. The worker
must not have imported FastAPI.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, subject

_WAITING = 10
_DEADLINE = 30.0
_COMMAND = (sys.executable, "-m", "fastapi_events.cli", "worker", "--app", "benchmarks.started:events")
_CLAIMED, _IMPORT, _WHOLE = "first event after import", "user's module import", "first event after process start"


async def _measure(stage: Stage) -> Figures:
    report = stage.folder / "started.json"
    report.unlink(missing_ok=True)
    async with stage.installed(OURS) as url:
        await subject(OURS).load(url, _WAITING)
        environment = {**os.environ, "EVENTS_DATABASE_URL": url, "BENCH_REPORT": str(report)}
        spawned = monotonic_ns()
        worker = await asyncio.create_subprocess_exec(*_COMMAND, cwd=ROOT, env=environment, stdout=sys.stderr)
        try:
            told = await _report(report, worker)
        finally:
            if worker.returncode is None:
                worker.terminate()
            await worker.wait()
    return {
        _CLAIMED: (told["handled"] - told["imported"]) / 1e9,
        _IMPORT: (told["imported"] - told["begun"]) / 1e9,
        _WHOLE: (told["handled"] - spawned) / 1e9,
        "fastapi": float(told["fastapi"]),
    }


async def _report(path: Path, worker: asyncio.subprocess.Process) -> dict[str, Any]:
    async with asyncio.timeout(_DEADLINE):
        while not await asyncio.to_thread(path.exists):
            if worker.returncode is not None:
                raise RuntimeError(f"the worker ended with status {worker.returncode} before its first event.")
            await asyncio.sleep(0.01)
    told: dict[str, Any] = json.loads(await asyncio.to_thread(path.read_text))
    return told


async def run(stage: Stage) -> Finding:
    """Ours alone."""
    rounds = await interleave(stage.rounds, {OURS: partial(_measure, stage)}, title="worker start")
    imported = any(rounds.values(OURS, "fastapi"))
    return Finding(
        title="Worker start",
        how="`fastapi-events worker` in a database where ten events wait; the first start of the handler.",
        rows=[Row(OURS, name, "s", rounds.spread(OURS, name)) for name in (_CLAIMED, _IMPORT, _WHOLE)],
        ratios=[Ratio("first event after the module's import, seconds", rounds.spread(OURS, _CLAIMED), ("≤", 0.3))],
        notes=[f"`fastapi` in the worker's `sys.modules`: {'**yes**' if imported else 'no'}"],
    )
