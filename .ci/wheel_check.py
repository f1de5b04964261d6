"""Build the wheel from the source archive, install it in a fresh environment, and use it from an empty folder.

What a user gets must not depend on the checkout: the wheel has one top-level import, holds every file of the package
once, and the example runs against it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "fastapi_events"
NOT_PACKED = {"__pycache__", ".mypy_cache", ".ruff_cache"}

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [
    module.name
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    # Alembic runs its environment, nobody imports it; a __main__ is a program.
    if ".migrations" not in module.name and not module.name.endswith(".__main__")
]
for name in names:
    importlib.import_module(name)
print(f"{sys.argv[1]}: {len(names) + 1} modules imported from {package.__path__[0]}")
"""

NOTHING_ELSE = """
import importlib.metadata, importlib.util
files = importlib.metadata.files("fastapi-events-pg")
tops = {file.parts[0] for file in files if ".dist-info" not in file.parts[0]} - {"..", "__pycache__"}
assert tops == {"fastapi_events"}, tops
for name in ("dashboard", "example_app", "tests", "benchmarks"):
    assert importlib.util.find_spec(name) is None, f"{name} can be imported"
import alembic
assert alembic.__file__ is not None, "our migrations hide the library alembic"
import fastapi_events.dashboard
print("nothing but fastapi_events can be imported")
"""

USERS_TEST = """
import pytest
from fastapi_events import Event, Events

class Placed(Event, name="shop.order.placed"):
    number: int

seen = []

@pytest.fixture
def events_app():
    events = Events()

    @events.on(Placed)
    async def place(event: Placed) -> None:
        seen.append(event.number)

    return events

@pytest.mark.asyncio
async def test_an_event_is_handled(events, published):
    await events.publish(Placed(number=7))
    await events.drain_once()
    assert seen == [7]
    await published.one(Placed, number=7)
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="wheel-check-") as name:
        folder = Path(name)
        archive, wheel = build(folder / "dist")
        check_contents(archive, wheel)
        python = fresh_environment(folder / "environment", wheel)
        empty = folder / "empty"
        empty.mkdir()
        run(python, "-c", NOTHING_ELSE, folder=empty)
        run(python, "-c", IMPORT_ALL, PACKAGE, folder=empty)
        run(python.with_name("fastapi-events"), "--help", folder=empty)
        (empty / "test_shop.py").write_text(USERS_TEST)  # the plugin is found by its entry point
        run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py", folder=empty)
        if (ROOT / "example_app").exists():
            shutil.copytree(ROOT / "example_app", empty / "example_app")
            run(python, "-m", "example_app.demo", "--seconds", "3", folder=empty)
    print("wheel check passed")


def build(target: Path) -> tuple[Path, Path]:
    """The source archive, and the wheel made from it."""
    run(Path(sys.executable), "-m", "build", "--no-isolation", "--outdir", str(target), ".", folder=ROOT)
    return next(target.glob("*.tar.gz")), next(target.glob("*.whl"))


def check_contents(archive: Path, wheel: Path) -> None:
    """Every file of the package is in both, once, and nothing else is importable."""
    expected = {
        f"{PACKAGE}/{path.relative_to(ROOT / PACKAGE)}"
        for folder, folders, files in os.walk(ROOT / PACKAGE, followlinks=True)
        if not NOT_PACKED.intersection(Path(folder).parts)
        for path in (Path(folder) / file for file in files)
    }
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        contents = [sha256(packed.read(name)).digest() for name in names if name.startswith(f"{PACKAGE}/dashboard/")]
    in_wheel = [name for name in names if ".dist-info/" not in name]
    assert len(in_wheel) == len(set(in_wheel)), "a file is in the wheel twice"
    assert contents, "the dashboard is missing"
    assert set(in_wheel) == expected, f"differs from the checkout: {sorted(set(in_wheel) ^ expected)}"
    with tarfile.open(archive) as packed_source:
        in_source = {name.partition("/")[2] for name in packed_source.getnames()}
    assert expected <= in_source, f"missing in the source archive: {sorted(expected - in_source)}"
    assert not {name.partition("/")[0] for name in in_source} & {"dashboard", "alembic"}, "packed a second time"
    print(f"{wheel.name}: {len(expected)} files, one top-level import")


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """A new environment with the wheel, its extras and the versions of the lock file; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    constraints = folder / "constraints.txt"
    lock = (ROOT / "requirements-dev.lock").read_text().splitlines()
    constraints.write_text("".join(f"{line.split()[0]}\n" for line in lock if "==" in line))
    # The example's contracts have an e-mail address, which pydantic checks with an extra of its own, and its
    # demonstration sends requests.
    wanted = [f"fastapi-events-pg[all,testing] @ {wheel.as_uri()}", "pydantic[email]", "httpx"]
    run(python, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *wanted, folder=folder)
    return python


def run(program: Path, *arguments: str, folder: Path, **variables: str) -> None:
    """Run a program in ``folder``, without what this process's environment says about Python and the library."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EVENTS_"))}
    subprocess.run([str(program), *arguments], check=True, cwd=folder, env=environment | variables)


if __name__ == "__main__":
    main()
