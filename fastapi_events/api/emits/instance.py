"""Which instance publishes what a session's rows tell: that of its delivery or publisher, else the running one."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.api.publishing.sealing import Sealer
from fastapi_events.api.publishing.session_events import events_of
from fastapi_events.engine import running
from fastapi_events.engine.handler_session import OwnedSession
from fastapi_events.errors import EventsError, NotStarted
from fastapi_events.model.event import Event


def sealer_of(session: Session, owner: str, event: type[Event]) -> Sealer:
    """What makes envelopes of a session's changes; raises ``NotStarted`` if no instance would publish them."""
    sealer = find_sealer(session)
    if sealer is not None:
        return sealer
    number = len(running.started())
    why = (
        f"{number} Events instances are started in this process, and nothing says which one is meant. Bind a publisher "
        "of it to the session first: events.publisher(session)"
        if number
        else "no Events instance is started in this process. Include its router in the app, or await events.start()"
    )
    raise NotStarted(
        f"A row of {owner} has changed and {event.__qualname__} is to tell of it, but {why}. If nothing is to be told "
        "(in a migration or a seed), flush in a block: with without_events()."
    )


def find_sealer(session: Session) -> Sealer | None:
    """The same, None if there is none."""
    if isinstance(session, OwnedSession) and session.delivery is not None:
        if session.sealer is None:
            run, make_publisher = session.delivery
            session.sealer = make_publisher(run, Sealer)
        sealer: Sealer = session.sealer
        return sealer
    events = events_of(session)
    if events is not None:
        return Sealer(events.port)
    port = _running_port(session)
    return None if port is None else Sealer(port)


def _running_port(session: Session) -> PublishingPort | None:
    instances = running.started()
    if len(instances) > 1:
        instances = [each for each in instances if _engine_of(each) is _engine(session)]
    port: PublishingPort | None = instances[0].publishing if len(instances) == 1 else None
    return port


def _engine_of(instance: Any) -> Any:
    """The engine of an instance's sessions."""
    try:
        session = instance.session()
    except EventsError:
        return None
    return _engine(session.sync_session) if isinstance(session, AsyncSession) else None


def _engine(session: Session) -> Any:
    try:
        return session.get_bind().engine
    except SQLAlchemyError:
        return object()
