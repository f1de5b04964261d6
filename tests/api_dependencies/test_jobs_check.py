"""An endpoint whose run would silently leave its rows' transaction, or never be started, is found at the start."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events import JobClient, Jobs, SessionDep, jobs_on
from fastapi_events.api.dependencies.route_check import check_routes
from fastapi_events.errors import DeclarationError
from tests.api_dependencies.test_route_check import OwnSession, get_session, refused


def test_a_session_beside_the_ready_made_client() -> None:
    app = FastAPI()

    @app.put("/orders/{number}")
    async def place(number: int, session: OwnSession, jobs: Jobs) -> None: ...

    message = refused(app)
    assert "place) takes the ready-made Jobs beside a session from tests.api_dependencies" in message
    assert "its runs would commit in a session of their own" in message
    assert "Annotated[JobClient, Depends(jobs_on(SessionDep))]" in message


def test_what_is_right() -> None:
    app = FastAPI()

    @app.put("/orders")
    async def place(session: SessionDep, jobs: Jobs) -> None: ...

    @app.put("/own")
    async def own(session: OwnSession, jobs: Annotated[JobClient, Depends(jobs_on(OwnSession))]) -> None: ...

    check_routes(app)


def test_a_client_on_the_same_dependency_in_another_scope() -> None:
    app = FastAPI()
    Narrow = Annotated[AsyncSession, Depends(get_session, scope="function")]  # noqa: N806

    @app.post("/orders")
    async def place(session: Narrow, jobs: Annotated[JobClient, Depends(jobs_on(OwnSession))]) -> None: ...

    message = refused(app)
    assert "takes a JobClient on a session of" in message
    assert "the run is in another transaction than the rows. Give jobs_on the very alias" in message


@pytest.mark.parametrize("annotation", [Jobs, Annotated[JobClient, Depends(jobs_on(OwnSession))]])
def test_a_def_endpoint_cannot_await_it(annotation: Any) -> None:
    app = FastAPI()

    def place(jobs: JobClient) -> None: ...

    place.__annotations__["jobs"] = annotation
    app.post("/orders")(place)
    assert "is a def function and takes a JobClient, 'jobs'" in refused(app)


def test_a_bare_client() -> None:
    app = FastAPI()

    async def place(jobs: JobClient) -> None: ...

    with pytest.raises(DeclarationError, match=r"a bare JobClient\. Annotate the parameter with"):
        app.post("/orders")(place)
