"""What endpoints ask for: the shop's own session, and what publishes and starts jobs in that very session."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.db import SessionLocal
from fastapi_events import EventPublisher, JobClient, jobs_on, publisher_on


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session for one request; whatever the endpoint has not committed is rolled back."""
    async with SessionLocal() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
Publisher = Annotated[EventPublisher, Depends(publisher_on(SessionDep))]
Jobs = Annotated[JobClient, Depends(jobs_on(SessionDep))]
