"""The ready-made dependencies, over the library's own sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from fastapi.requests import HTTPConnection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.api.dependencies.instance import instance_of
from fastapi_events.api.dependencies.jobs import jobs_on
from fastapi_events.api.dependencies.publishers import for_endpoints_only, publisher_on, sync_publisher_on
from fastapi_events.api.jobs import JobClient
from fastapi_events.api.publisher import EventPublisher, SyncEventPublisher
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession


async def library_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """A session of the instance that serves the request; nothing is committed for the user."""
    async with instance_of(connection).session() as session:
        yield session


async def library_sync_session(connection: HTTPConnection) -> AsyncIterator[Session]:
    """A plain session of the instance that serves the request, for ``def`` endpoints."""
    session = instance_of(connection).sync_session()
    try:
        yield session
    except BaseException:
        # Whom an exception kept from the commit has not forgotten it.
        await run_in_threadpool(session.rollback)
        raise
    finally:
        await run_in_threadpool(session.close)


for_endpoints_only(library_session, HandlerSession)
for_endpoints_only(library_sync_session, SyncHandlerSession)

SessionDep = Annotated[AsyncSession, Depends(library_session, scope="function")]
"""A session of the library's own; it ends with the endpoint, before the response is sent, and never commits itself."""

SyncSessionDep = Annotated[Session, Depends(library_sync_session, scope="function")]
"""The same for ``def`` endpoints; needs ``Events(sync_sessions=...)``."""

ready_publisher = publisher_on(SessionDep)
ready_sync_publisher = sync_publisher_on(SyncSessionDep)

Publisher = Annotated[EventPublisher, Depends(ready_publisher)]
"""A publisher on ``SessionDep``'s session."""

SyncPublisher = Annotated[SyncEventPublisher, Depends(ready_sync_publisher)]
"""A publisher on ``SyncSessionDep``'s session."""

ready_jobs = jobs_on(SessionDep)

Jobs = Annotated[JobClient, Depends(ready_jobs)]
"""What starts jobs on ``SessionDep``'s session."""
