"""The JSON API's erasures: what personal data is taken away, and a look at how much that is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import Field

from fastapi_events.api.actor import Permission
from fastapi_events.api.body import Body
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.erasure import Erased
from fastapi_events.api.observe.views import View
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.model.tenancy import UNSAID, Unsaid

Name = Annotated[str, Field(min_length=1, max_length=500)]


class ErasureOf(Body):
    """An aggregate. ``tenant_id``: whose, null for no tenant's; needed where several tenants have one of this id."""

    aggregate: Name
    aggregate_id: Name
    tenant_id: str | None = None

    @property
    def said_tenant(self) -> str | Unsaid | None:
        """The tenant as operations take it: null is not the same as left out."""
        return self.tenant_id if "tenant_id" in self.model_fields_set else UNSAID


class ErasureOrder(ErasureOf):
    """An aggregate whose content is to be erased, and why, for the record."""

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON)]


class ErasedAnswer(View):
    """``found`` events, and how many of them, of deliveries and of attempts had content, which is gone or would be."""

    found: int
    events: int
    deliveries: int
    attempts: int


class ErasingRoutes:
    """POST routes, so that no aggregate's id stands in an address, which servers log."""

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add both routes; they take requests from our own pages alone."""
        admin = [Depends(same_origin), guard.requires(Permission.admin)]
        router.post("/erasures/preview", dependencies=admin)(self.preview_erasure)
        router.post("/erasures", dependencies=admin)(self.erase)

    async def preview_erasure(self, request: Request, body: ErasureOf) -> ErasedAnswer:
        """What there is to erase of an aggregate; changes nothing."""
        operations = operator_of(request).operations
        ahead = await operations.preview_erase(body.aggregate, body.aggregate_id, tenant_id=body.said_tenant)
        return _answer(ahead)

    async def erase(self, request: Request, body: ErasureOrder) -> ErasedAnswer:
        """Take the content of all events of an aggregate away for good, with every copy of it here."""
        operator, reason = operator_of(request), check_reason(body.reason)
        erased = await operator.operations.erase(
            body.aggregate, body.aggregate_id, tenant_id=body.said_tenant, actor=operator.actor.id, reason=reason
        )
        return _answer(erased)


def _answer(erased: Erased) -> ErasedAnswer:
    if not erased.found:
        raise HTTPException(404, "There is no event of this aggregate and id.")
    return ErasedAnswer(**asdict(erased))
