"""How much a pool does at once: a page (or dialog) that asks for the number, then the act itself."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.pool_operations import MOST_AT_ONCE
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter, OperationRefused

PoolAct = Literal["set", "reset"]


class PoolPages:
    """``/dashboard/pools``: of pools on the jobs' page, for everybody's runs and handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the question and both acts."""
        operate = guard.requires(Permission.operate, fleet=True)
        acting = [Depends(same_origin), operate]
        router.get("/pools/confirm", dependencies=[operate])(self.confirm)
        router.post("/pools/set", dependencies=acting)(self.set)
        router.post("/pools/reset", dependencies=acting)(self.reset)

    async def confirm(
        self, request: Request, action: PoolAct, pool: Annotated[str, Query(min_length=1, max_length=500)]
    ) -> Response:
        """What will happen, and the questions how many and why."""
        group = self._desk.port.observe.group
        pools = {view.name: view for view in await operator_of(request).observe.pools(reserved=True)
                 if group is None or view.group == group}  # fmt: skip
        if (view := pools.get(pool)) is None:
            raise OperationRefused(f"This group has no pool {ascii(pool)[:80]}. Nothing was asked or changed.")
        return await self._desk.show(
            request, "confirm_pool.html", room="jobs", action=action, pool=view, most=MOST_AT_ONCE,
            max_reason=MAX_REASON,
        )  # fmt: skip

    async def set(self, request: Request) -> Response:
        """Act, and go back to the pools with what became of it."""
        fields = await read_fields(request)
        name, reason = _pool(one_of(fields, "pool")), check_reason(one_of(fields, "reason"))
        operator = operator_of(request)
        changed = await operator.operations.set_pool(
            name, _number(one_of(fields, "concurrency")), actor=operator.actor.id, reason=reason
        )
        return _back(request, "set", changed)

    async def reset(self, request: Request) -> Response:
        """Act, and go back to the pools with what became of it."""
        fields = await read_fields(request)
        name, reason = _pool(one_of(fields, "pool")), check_reason(one_of(fields, "reason"))
        operator = operator_of(request)
        changed = await operator.operations.reset_pool(name, actor=operator.actor.id, reason=reason)
        return _back(request, "reset", changed)


def _pool(name: str) -> str:
    if not name:
        raise InvalidFilter("The form does not say which pool. Go back to the list and choose again.")
    return name


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise InvalidFilter(f"{text[:40]!r} is no whole number from 1 to {MOST_AT_ONCE:,}.")
    return int(text)


def _back(request: Request, act: PoolAct, changed: bool) -> Response:
    where = visit_of(request).path("jobs", done=act, changed=str(changed).lower())
    return Response(status_code=303, headers={"Location": where})
