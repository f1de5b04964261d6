"""What every room of the dashboard works with."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from fastapi_events.api.observe.job_views import JobSigns
from fastapi_events.api.operator_port import OperatorPort
from fastapi_events.api.redaction import Redactor
from fastapi_events.api.routes.guard import operator_of
from fastapi_events.dashboard.rendering import page
from fastapi_events.dashboard.visit import visit_of

REFRESH = 5
"""Seconds between refreshes of a page that is looked at."""


class Desk:
    """How to show things; what there is to show, ``operator_of(request)`` knows."""

    def __init__(self, port: OperatorPort) -> None:
        self.port, self.redactor = port, Redactor()

    async def signs(self, request: Request) -> JobSigns:
        """What there is of jobs, for a page that depends on it; pass it on to ``show`` as ``signs``."""
        return await operator_of(request).observe.job_signs()

    async def show(self, request: Request, template: str, *, room: str, status: int = 200, **values: Any) -> Response:
        """A page, or the part of it that was asked for, with the counts that every page carries."""
        signs: JobSigns = values.pop("signs", None) or await self.signs(request)
        if "dead" not in values:
            values["dead"] = await operator_of(request).observe.dead_letter_count() + signs.dead
        return page(
            template, visit_of(request), status, room=room, group=self.port.observe.group, jobs_known=signs.jobs > 0,
            development=self.port.authorize is None and self.port.settings.development, every=REFRESH, **values,
        )  # fmt: skip
