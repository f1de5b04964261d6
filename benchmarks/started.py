"""A user's module as the worker command loads it; it notes when its import began and ended."""

from __future__ import annotations

from time import monotonic_ns

_BEGUN = monotonic_ns()

import json  # noqa: E402 - everything imported below counts as the module's own import time
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from benchmarks.ours import quiet  # noqa: E402
from fastapi_events import Events  # noqa: E402

REPORT_VARIABLE = "BENCH_REPORT"


def _first_event(event: object) -> None:
    """Leave the instants where the parent looks for them, complete or not at all."""
    instant = monotonic_ns()
    report = Path(os.environ[REPORT_VARIABLE])
    if report.exists():
        return
    told = {"begun": _BEGUN, "imported": _IMPORTED, "handled": instant, "fastapi": "fastapi" in sys.modules}
    unfinished = report.with_suffix(".part")
    unfinished.write_text(json.dumps(told))
    unfinished.replace(report)


events = Events(modules=[quiet(_first_event)])
_IMPORTED = monotonic_ns()
