"""Finding the ``Events`` object that a command is about."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from fastapi_events.errors import SettingsError


def load_events(given: str | None, *, required: bool = True) -> Any:
    """Import ``module:attribute`` of ``--app``, ``EVENTS_APP`` or ``[tool.fastapi_events] app``; returns the object.

    None if nothing says which and it is not ``required``. Raises ``SettingsError`` naming what is missing: the setting,
    the module, or the attribute.
    """
    target = given or os.environ.get("EVENTS_APP") or _from_pyproject()
    if not target and not required:
        return None
    if not target:
        raise SettingsError(
            "Which Events object? Pass --app module:attribute (e.g. --app shop.events:events), set EVENTS_APP, or put "
            'app = "module:attribute" under [tool.fastapi_events] in pyproject.toml.'
        )
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise SettingsError(f"--app {target}: it is module:attribute, e.g. shop.events:events.")
    sys.path.insert(0, str(Path.cwd()))
    module = _import(module_name, target)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SettingsError(f"--app {target}: the module {module_name} has no attribute {attribute!r}.")
        found = getattr(found, part)
    if not hasattr(found, "drain_once"):
        raise SettingsError(
            f"--app {target}: that is {type(found).__name__}, not the Events object of the application."
        )
    return found


def _import(module_name: str, target: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise SettingsError(f"--app {target}: there is no module {error.name!r} in {Path.cwd()}.") from error
        raise


def _from_pyproject() -> str | None:
    path = Path("pyproject.toml")
    if not path.is_file():
        return None
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("fastapi_events", {})
    app = table.get("app")
    return str(app) if app else None
