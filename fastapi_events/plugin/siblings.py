"""Several instances in one process: whose handlers run, and whose do not because nobody starts it."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING
from weakref import WeakSet

from fastapi_events.model.module import HandlerDeclaration

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events

logger = logging.getLogger("fastapi_events")

_all: WeakSet[Events] = WeakSet()
_used: WeakSet[Events] = WeakSet()
_with_router: WeakSet[Events] = WeakSet()


def made(events: Events) -> None:
    """There is an instance; nobody has started or included it yet."""
    _all.add(events)


def in_use(events: Events) -> None:
    """Somebody starts it."""
    _used.add(events)


def has_router(events: Events) -> None:
    """Its router has been asked for, and is about to be included."""
    in_use(events)
    _with_router.add(events)


def with_router() -> list[Events]:
    """The instances whose router has been asked for."""
    return list(_with_router)


def warn_of_idle(started: Events) -> None:
    """Name the handlers of this process that no instance runs: theirs was made, and another one is started."""
    in_use(started)
    if not _forgotten():
        return
    gc.collect()  # an instance is part of a cycle: one that is gone may still be there
    for handlers in _forgotten():
        first = handlers[0]
        more = f" (and {len(handlers) - 1} more)" if len(handlers) > 1 else ""
        logger.warning(
            "handler %r (%s)%s will never run: the Events object that it belongs to is not started, only another one "
            "is. Include its router, app.include_router(events.router), in place of the other one's; or pass the "
            "handler's module to the other one, Events(modules=[...]).",
            first.id, first.where, more,
        )  # fmt: skip


def _forgotten() -> list[list[HandlerDeclaration]]:
    run = {handler for events in list(_used) for handler in _handlers(events)}
    left = [[handler for handler in _handlers(other) if handler not in run] for other in list(_all)]
    return [handlers for handlers in left if handlers]


def _handlers(events: Events) -> list[HandlerDeclaration]:
    return [handler for module in events.registry.modules for handler in module.handlers]
