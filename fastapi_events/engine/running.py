"""Which instances have been started in this process: what dependencies fall back to where no app state says it."""

from __future__ import annotations

from typing import Any

from fastapi_events.errors import NotStarted

_running: list[Any] = []


def register(instance: Any) -> None:
    """Note that an instance has been started."""
    if not any(other is instance for other in _running):
        _running.append(instance)


def unregister(instance: Any) -> None:
    """Note that an instance has been stopped."""
    _running[:] = [other for other in _running if other is not instance]


def started() -> list[Any]:
    """Every instance that is started in this process."""
    return list(_running)


def current() -> Any:
    """The only instance started in this process; raises ``NotStarted`` if there is none, or more than one."""
    if len(_running) == 1:
        return _running[0]
    if not _running:
        raise NotStarted(
            "No Events instance is started. Include its router in the app (app.include_router(events.router)), or call "
            "await events.start() first; in tests, let the app's lifespan run."
        )
    raise NotStarted(
        f"{len(_running)} Events instances are started in this process, and nothing says which one is meant. Use the "
        "instance's own methods, or include its router in the app that serves the request."
    )
