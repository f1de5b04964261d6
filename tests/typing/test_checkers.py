"""mypy and pyright, both strict, accept what users write and refuse what cannot work.

A checker reads all snippets in one run: most of its time goes into the library and what that imports.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

SNIPPETS = Path(__file__).parent / "snippets"
NAMES = ("fine", "wrong", "keywords", "middleware", "jobs", "testing")
ROOT = Path(__file__).parents[2]

Found = dict[str, dict[int, str]]
"""What a checker refuses: by the snippet's name, by the line."""


def marked(name: str) -> set[int]:
    lines = (SNIPPETS / f"{name}.py").read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def copied(folder: Path) -> list[str]:
    """The snippets outside the repository, as a user's project stands."""
    for name in NAMES:
        (folder / f"{name}.py").write_text((SNIPPETS / f"{name}.py").read_text())
    return [str(folder / f"{name}.py") for name in NAMES]


def by_snippet(errors: Iterable[tuple[str, int, str]]) -> Found:
    found: Found = {name: {} for name in NAMES}
    for path, line, message in errors:
        found[Path(path).stem][line] = message
    return found


def found_by_mypy(folder: Path, cached: str, *options: str) -> Found:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={ROOT / cached}", "--no-error-summary",
         "--hide-error-context", *options, *copied(folder)],
        capture_output=True, text=True, timeout=280, cwd=folder,  # the library is what is installed there
    )  # fmt: skip
    assert done.stderr == ""
    errors = re.findall(r"^(.+?):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    return by_snippet((path, int(line), message) for path, line, message in errors)


def found_by_pyright(folder: Path) -> Found:
    project = {"include": copied(folder), "typeCheckingMode": "strict", "pythonVersion": "3.11",
               "venvPath": str(ROOT), "venv": ".venv",
               "extraPaths": [str(ROOT)]}  # fmt: skip
    settings = folder / "pyrightconfig.json"
    settings.write_text(json.dumps(project))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "-p", str(settings), "--pythonpath", sys.executable],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    errors = [each for each in diagnostics if each["severity"] == "error"]
    return by_snippet((each["file"], each["range"]["start"]["line"] + 1, each["message"]) for each in errors)


CHECKERS: dict[str, Callable[[Path], Found]] = {
    "mypy": lambda folder: found_by_mypy(
        folder, ".mypy_cache/with_plugins", f"--config-file={ROOT / 'pyproject.toml'}"
    ),
    "mypy without plugins": lambda folder: found_by_mypy(
        folder, ".mypy_cache/without_plugins", "--config-file=", "--python-version=3.11"
    ),
    "pyright": found_by_pyright,
}


@pytest.fixture(scope="module")
def found_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Found]:
    """What a checker finds, which runs when it is asked for first."""
    return cache(lambda checker: CHECKERS[checker](tmp_path_factory.mktemp("project")))


def test_every_snippet_is_checked() -> None:
    assert {path.stem for path in SNIPPETS.glob("*.py")} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("checker", ["mypy", pytest.param("mypy without plugins", marks=pytest.mark.long), "pyright"])
def test_checkers_agree_with_the_marks(checker: str, name: str, found_by: Callable[[str], Found]) -> None:
    found = found_by(checker)[name]
    wanted = marked(name) if name != "keywords" or checker == "pyright" else set[int]()
    assert set(found) == wanted, {line: found.get(line, "accepted") for line in set(found) ^ wanted}
