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


def found_by_mypy(path: Path, cache: Path) -> dict[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", "--no-error-summary", "--hide-error-context",
         str(path)],
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
@pytest.mark.parametrize("name", ["fine", "wrong"])
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_checkers_agree_with_the_marks(checker: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text((SNIPPETS / f"{name}.py").read_text())
    found = found_by_mypy(path, ROOT / ".mypy_cache") if checker == "mypy" else found_by_pyright(path)
    wanted = marked(path)
    assert set(found) == wanted, {line: found.get(line, "accepted") for line in set(found) ^ wanted}
