"""How the JSON API answers: errors of ours as a status and a reason, and the same headers on everything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from fastapi_events.errors import (
    EventsError,
    InvalidFilter,
    JobCollisionError,
    NotFound,
    OperationRefused,
    ReadingUnavailable,
    RunConflict,
)

MAX_BODY = 262_144
"""Bytes of a request's body at most."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "same-origin",
}
_STATUS: dict[type[EventsError], int] = {InvalidFilter: 422, ReadingUnavailable: 503, NotFound: 404,
    OperationRefused: 409, RunConflict: 409, JobCollisionError: 409,
}  # fmt: skip
_logger = logging.getLogger("fastapi_events.routes")


class JsonRoute(APIRoute):
    """A route whose refusals are JSON, whatever the host application does with its own."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                check_body(request)
                response = await handle(request)
            except (HTTPException, RequestValidationError, EventsError) as error:
                problem = problem_of(error)
                response = JSONResponse({"detail": problem.detail}, problem.status, problem.headers)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer


class Problem:
    """What is answered to something that went wrong: a status, a detail as FastAPI writes it, and its text."""

    def __init__(self, status: int, detail: Any, headers: dict[str, str] | None = None, *, text: str = "") -> None:
        self.status, self.detail, self.headers = status, detail, headers or {}
        self.text = text or str(detail)


def problem_of(error: Exception) -> Problem:
    """The answer to an error; raises those that are nobody's mistake and no passing trouble."""
    if isinstance(error, HTTPException):
        return Problem(error.status_code, error.detail, dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        problems = [{key: problem[key] for key in ("type", "loc", "msg")} for problem in error.errors()]
        words = "; ".join(f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in problems)
        return Problem(422, problems, text=words)
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        raise error
    if status == 503:
        _logger.warning("a reading was given up: %s", error, exc_info=error.__cause__)
        return Problem(503, str(error), {"Retry-After": "5"})
    if isinstance(error, InvalidFilter):
        return Problem(422, [{"type": "invalid_filter", "loc": [error.where], "msg": str(error)}], text=str(error))
    return Problem(status, str(error))


def check_body(request: Request) -> None:
    """Refuse a body that is too long, or whose length is not told, before it is read."""
    if request.method in ("GET", "HEAD"):
        return
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdecimal():
        raise HTTPException(411, "The request does not tell the length of its body (Content-Length).")
    if int(length[:20]) > MAX_BODY:
        raise HTTPException(413, f"The request's body is longer than {MAX_BODY:,} bytes.")
