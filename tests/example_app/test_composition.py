"""What a worker loads."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = "import sys, example_app.composition; print(*sorted({'fastapi', 'starlette', 'uvicorn'} & sys.modules.keys()))"


def test_the_composition_root_imports_no_web_framework() -> None:
    environment = {**os.environ, "EVENTS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    run = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
