"""The part of ``Events`` by which code without a request publishes events and starts jobs."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events.api.jobs import JobClient
from fastapi_events.api.publisher import EventPublisher, Published
from fastapi_events.api.session_binding import bind_jobs
from fastapi_events.model.event import Event
from fastapi_events.model.module import Module
from fastapi_events.plugin.publishing import Publishing


class Publishes(Module):
    """A module that can publish, on whatever its ``publishing`` is connected to."""

    publishing: Publishing

    async def publish(self, event: Event, *, session: Any = None, detached: bool = False, **options: Any) -> Published:
        """Publish outside a request: on ``session`` (a session or connection), else in a transaction of its own.

        Without a session it raises ``DetachedPublish`` where a request's publisher or a handler is active, since the
        event would not commit with that transaction; ``detached=True`` says that this is wanted. The other options are
        those of an ``EventPublisher``.
        """
        return await self.publishing.publish(event, session=session, detached=detached, **options)

    def publisher(self, session: AsyncSession) -> EventPublisher:
        """A publisher bound to a session, for code that has no request."""
        return self.publishing.bind(session)

    def job_client(self, session: AsyncSession) -> JobClient:
        """What starts jobs on a session, for code that has no request."""
        return bind_jobs(self.publishing, session)

    @property
    def jobs(self) -> JobClient:
        """What starts jobs outside a request, each time in a transaction of its own, and looks after runs."""
        return self.publishing.jobs
