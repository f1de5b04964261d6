"""A few seconds of chaos in the ordinary suite: that the harness works, and finds nothing in so short a time."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psycopg")
ROOT = Path(__file__).parents[2]


# Fewer kills than `make chaos`, so that a busy machine gets anything done at all.
SHORT = {
    "events": ("once", "publish", "--seconds", "4", "--events", "200", "--kill-every", "1", "--requests", "200"),
    "jobs": ("jobs", "--quick", "--seconds", "4", "--runs", "60", "--kill-every", "1"),
    "what starts jobs": ("ticks", "bridge", "--quick"),
    "what holds jobs up": ("limits", "cancels", "--quick"),
    "zombies": ("zombies", "--quick"),
}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("programs", SHORT.values(), ids=SHORT.keys())
def test_a_few_seconds_of_chaos_leave_everything_in_order(tmp_path: Path, programs: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tests.chaos", *programs, "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    logs = "".join(f"\n== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(tmp_path.glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
