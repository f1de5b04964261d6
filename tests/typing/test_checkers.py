"""mypy and pyright, both strict, accept what users write and refuse what cannot work."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SNIPPETS = Path(__file__).parent / "snippets"
ROOT = Path(__file__).parents[2]


def marked(path: Path) -> set[int]:
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if line.endswith("# wrong")}


def found_by_mypy(path: Path, cache: Path, *options: str) -> dict[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", "--no-error-summary", "--hide-error-context",
         *options, str(path)],
        capture_output=True, text=True, timeout=280, cwd=ROOT,
    )  # fmt: skip
    assert done.stderr == ""
    return {int(m[1]): m[2] for m in re.finditer(r":(\d+): error: (.*)", done.stdout)}


def found_by_pyright(path: Path) -> dict[int, str]:
    project = {"include": [str(path)], "typeCheckingMode": "strict", "pythonVersion": "3.11",
               "venvPath": str(ROOT), "venv": ".venv"}  # fmt: skip
    settings = path.parent / "pyrightconfig.json"
    settings.write_text(json.dumps(project))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pyright", "--outputjson", "-p", str(settings), "--pythonpath", sys.executable],
            capture_output=True, text=True, timeout=280,
        )  # fmt: skip
    finally:
        settings.unlink()
    diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    return {d["range"]["start"]["line"] + 1: d["message"] for d in diagnostics if d["severity"] == "error"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fine", "wrong", "keywords", "middleware", "testing"])
@pytest.mark.parametrize("checker", ["mypy", "mypy without plugins", "pyright"])
def test_checkers_agree_with_the_marks(checker: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text((SNIPPETS / f"{name}.py").read_text())
    if checker == "pyright":
        found = found_by_pyright(path)
    elif checker == "mypy":
        found = found_by_mypy(path, ROOT / ".mypy_cache")
    else:
        found = found_by_mypy(path, tmp_path / "cache", "--config-file=", "--python-version=3.11")
    wanted = marked(path) if name != "keywords" or checker == "pyright" else set[int]()
    assert set(found) == wanted, {line: found.get(line, "accepted") for line in set(found) ^ wanted}
