"""Which process of a run gets which tests, and when.

A file's tests stay together, and so do the files that share what takes long to make. What takes longest begins first,
so that no process is left alone with it at the end.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

SHARED = {
    "tests/browser/": "the browser",
    "tests/packaging/test_browser.py": "the browser",
    "tests/plans/": "the databases that are filled",
}
LONGEST = (
    "tests/browser/", "tests/packaging/test_browser.py", "tests/plans/", "tests/typing/", "tests/embedded/",
    "tests/handlers/test_misuse.py", "tests/migrations/", "tests/example_app/", "tests/docs/test_how_to.py",
    "tests/properties/", "tests/dashboard/", "tests/pgbouncer/", "tests/cli/", "tests/operators_api/",
    "tests/testing_kit/test_pytest_plugin.py", "tests/retention/", "tests/tenancy/",
)  # fmt: skip
"""Files and rooms by the beginnings of their paths; the order of the others does not matter."""


class Distribution(LoadFileScheduling):
    """Hands out files, or what shares something, one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for path, name in SHARED.items() if file.startswith(path)), file)


def longest_first(items: list[pytest.Item]) -> None:
    """Sort the tests in place; those of one file keep their order."""

    def place(item: pytest.Item) -> int:
        return next((at for at, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))

    items.sort(key=place)


def scheduler(config: pytest.Config, log: Any) -> Distribution | None:
    """What xdist is to use for ``--dist loadfile``."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # by the number of tests, which says little
    return Distribution(config, log)
