"""What starts jobs on exactly the session that another dependency gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.requests import HTTPConnection

from fastapi_events.api.dependencies.declared import Declared
from fastapi_events.api.dependencies.instance import instance_of
from fastapi_events.api.dependencies.publishers import made_for, sign
from fastapi_events.api.jobs import JobClient
from fastapi_events.api.request_flow import Serving
from fastapi_events.api.session_binding import bind_jobs


def jobs_on(session: Any) -> Callable[..., Awaitable[JobClient]]:
    """A dependency that gives a ``JobClient`` on exactly the session that another dependency gives.

    As ``publisher_on``: runs that it starts are there with that session's commit::

        Jobs = Annotated[JobClient, Depends(jobs_on(SessionDep))]

    Raises ``DeclarationError`` for anything that is no dependency, and for a session that is not shared.
    """
    declared = Declared.of(session, "jobs_on")
    description = f"what starts jobs on the session of {declared.name}"

    async def jobs(connection: HTTPConnection, session: Any) -> JobClient:
        bound = bind_jobs(instance_of(connection).publishing, session, endpoint=connection.scope.get("endpoint"))
        Serving(connection, session, description).begin()
        return bound

    sign(jobs, connection=HTTPConnection, session=declared.annotation)
    made_for(jobs, JobClient)
    return jobs
