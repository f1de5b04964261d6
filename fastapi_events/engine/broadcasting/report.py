"""What the log says of broadcast handlers; all wording is here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.item import Item
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.tail import Restart

logger = logging.getLogger("fastapi_events")

SHOWN = 20
"""How many ids a line names."""


def failed(run: Run, outcome: Outcome) -> None:
    """A call that failed, with its traceback: nothing else keeps it."""
    what = outcome.failure
    why = f"{what.error_type}: {what.message}" if what else outcome.reason or outcome.kind
    logger.warning(
        "broadcast handler %s failed for %s %s in this process, and is not called again for it: %s%s",
        run.handler.id, run.item.name, run.item.id, why, f"\n{what.traceback}" if what and what.traceback else "",
    )  # fmt: skip


def discarded(run: Run, outcome: Outcome) -> None:
    """A handler that wanted nothing of an event and said why."""
    logger.info(
        "broadcast handler %s discarded %s %s: %s", run.handler.id, run.item.name, run.item.id, outcome.note or "-"
    )


def skipped(name: str, first: int, last: int) -> None:
    """Events that were left out because the process was too far behind."""
    logger.warning(
        "%s: this process was more than EVENTS_BROADCAST_BACKLOG behind; events at the positions %d to %d may have "
        "been skipped in it. The history has them.", name, first, last,
    )  # fmt: skip


def restarted(name: str, restart: Restart) -> None:
    """A server that is not the one that it was."""
    if restart == "from_now":
        logger.warning(
            "%s: the server was set back or replaced, and the place of this process means nothing there; it goes on "
            "from now. What was published in between has not been seen in it.", name,
        )  # fmt: skip
    else:
        logger.warning(
            "%s: the server was restarted. This process goes on from its place; if it was a crash or a failover, "
            "events committed in the first moments after it may have been missed.", name,
        )  # fmt: skip


def dropped(handler: str, events: int) -> None:
    """Events that had been read when the process stopped."""
    logger.info("broadcast handler %s: %d event(s) dropped, the process stops", handler, events)


def newer(handler: Handler, item: Item) -> None:
    """An event that a handler of this release cannot read; nothing keeps it for another release."""
    logger.warning(
        "broadcast handler %s: skipped %s %s in this process: it is version %d, and this process reads version %d and "
        "older", handler.id, item.name, item.id, item.versions.oldest, handler.reads,
    )  # fmt: skip


def broken(handler: str, events: Sequence[UUID], error: BaseException) -> None:
    """A defect of ours."""
    ids = ", ".join(map(str, events[:SHOWN])) + (", …" if len(events) > SHOWN else "")
    logger.error(
        "broadcast handler %s: its work was ended by a defect; %d event(s) dropped (%s). It goes on with what comes "
        "next", handler, len(events), ids, exc_info=error,
    )  # fmt: skip
