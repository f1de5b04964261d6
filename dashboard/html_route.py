"""How pages answer: the same security headers on everything, and refusals as pages or fragments with the reason."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from fastapi_events.api.routes.guard import Closed
from fastapi_events.api.routes.json_route import Problem, check_body, problem_of
from fastapi_events.dashboard.htmx import VARY, redirected, retargeted
from fastapi_events.dashboard.paths import base_path
from fastapi_events.dashboard.rendering import html
from fastapi_events.dashboard.visit import Visit, begin_visit
from fastapi_events.errors import EventsError, ReadingUnavailable

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "private, no-store",
    "Vary": VARY,
}
_GAVE_UP = "57014"
"""PostgreSQL's code for a statement that took longer than it may (query_canceled)."""
_TITLES = {
    401: "Sign in first",
    403: "No access",
    404: "Not found",
    409: "Not as it was",
    413: "Too long",
    422: "That could not be understood",
    503: "Not available right now",
}


class HtmlRoute(APIRoute):
    """A route that answers people."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, own_path = super().get_route_handler(), self.path

        async def answer(request: Request) -> Response:
            visit = begin_visit(request, base_path(request.scope, own_path))
            try:
                check_body(request)
                response = await handle(request)
            except (HTTPException, RequestValidationError, EventsError) as error:
                response = _refusal(visit, error)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer


def _refusal(visit: Visit, error: Exception) -> Response:
    problem = problem_of(error)
    elsewhere = problem.headers.get("location") or problem.headers.get("Location")
    if 300 <= problem.status < 400 and elsewhere:
        # A host that sends people to its login page: a fetch would follow silently and swap that page into ours.
        headers = redirected(elsewhere) if visit.htmx.is_request else problem.headers
        return Response(status_code=204 if visit.htmx.is_request else problem.status, headers=headers)
    title = _TITLES.get(problem.status, "That did not work")
    if visit.htmx.is_request and not visit.htmx.wants_page:
        response = html("fragments/notice.html", visit, problem.status, title=title, text=problem.text, tone="error")
        response.headers.update(retargeted("#notice", shown=visit.htmx.target != "live"))
        response.headers.update(problem.headers)
        return response
    return _error_page(visit, error, problem, title)


def _error_page(visit: Visit, error: Exception, problem: Problem, title: str) -> Response:
    response = html(
        "error.html", visit, problem.status, title=title, text=problem.text, status=problem.status,
        closed=isinstance(error, Closed), gave_up=_gave_up(error), room="", dead=0,
    )  # fmt: skip
    response.headers.update(problem.headers)
    return response


def _gave_up(error: Exception) -> bool:
    """Whether a reading alone was too slow: the database answers, and the work goes on."""
    return type(error) is ReadingUnavailable and getattr(error.__cause__, "sqlstate", None) == _GAVE_UP
