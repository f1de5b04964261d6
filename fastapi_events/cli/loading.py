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
    found = _found_at(target, f"--app {target}", example="shop.events:events")
    if not hasattr(found, "drain_once"):
        raise SettingsError(
            f"--app {target}: that is {type(found).__name__}, not the Events object of the application."
        )
    return found


def check_application(target: str) -> None:
    """Raise ``SettingsError`` unless ``target`` can be what ``dev`` serves.

    An application that cannot be imported for another reason is let through: the server shows the error, and serves
    once it is mended.
    """
    try:
        found = _found_at(target, f"dev {target}", example="shop.main:app")
    except SettingsError:
        raise
    except Exception:  # noqa: BLE001 - the server imports it again and tells
        return
    if hasattr(found, "drain_once") or not callable(found):
        raise SettingsError(
            f"dev {target}: that is {type(found).__name__}, not a FastAPI application. Name the application, "
            "e.g. fastapi-events dev shop.main:app."
        )


def _found_at(target: str, option: str, *, example: str) -> Any:
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise SettingsError(f"{option}: it is module:attribute, e.g. {example}.")
    sys.path.insert(0, str(Path.cwd()))
    found: Any = _import(module_name, option)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SettingsError(f"{option}: the module {module_name} has no attribute {attribute!r}.")
        found = getattr(found, part)
    return found


def _import(module_name: str, option: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise SettingsError(f"{option}: there is no module {error.name!r} in {Path.cwd()}.") from error
        raise


def _from_pyproject() -> str | None:
    path = Path("pyproject.toml")
    if not path.is_file():
        return None
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("fastapi_events", {})
    app = table.get("app")
    return str(app) if app else None
