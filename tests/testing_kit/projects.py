"""Projects of users, tested in a pytest of their own."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

PLUGIN = "fastapi_events.testing.pytest_plugin"


def plugin_options() -> list[str]:
    """How pytest is told of the plugin: not at all where the distribution is installed that has it."""
    installed = {point.value for point in entry_points(group="pytest11")}
    return [] if PLUGIN in installed else ["-p", PLUGIN]


def run_tests(folder: Path, *options: str, server_url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the tests in a folder with the plugin, on databases of a server (None: an embedded one)."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EVENTS_", "FASTAPI_EVENTS_", "PYTEST_"))
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
    if server_url is not None:
        environment["FASTAPI_EVENTS_TEST_DATABASE_URL"] = server_url
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    return subprocess.run(
        [*command, *plugin_options(), *options, str(folder)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
