"""The operators' pages: a client of ``fastapi_events.api`` like any other, rendered on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import APIRouter

    from fastapi_events.api.operator_port import OperatorPort

__all__ = ["dashboard_router"]


def dashboard_router(port: OperatorPort) -> APIRouter:
    """The pages under ``/dashboard``, to be included under the library's prefix; every one of them is guarded.

    Needs the extra ``dashboard`` (Jinja2), which is imported now and not before.
    """
    from fastapi_events.dashboard.mount import make_router

    return make_router(port)
