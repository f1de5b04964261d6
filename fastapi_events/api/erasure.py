"""Erasing what was personal: the content of all events of an aggregate, and every copy of it here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from uuid import UUID

from fastapi_events.errors import OperationRefused
from fastapi_events.model.tenancy import Unsaid
from fastapi_events.store.erasure import Aggregate, ErasureStore, Record, Tally

_UNASKABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters that no stored text has and a database cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure found and changed, or would change.

    ``found``: events of the aggregate, erased before or now; one that only dead deliveries keep a copy of counts once
    for each. ``events``: those whose payload or headers were there. ``deliveries``: those with a copy, a message or a
    note, and ``attempts`` those with a message or traceback, that were there.
    """

    found: int
    events: int
    deliveries: int
    attempts: int


class Erasure:
    """Erasing within the tenants that somebody may see; None is all of them."""

    def __init__(self, store: ErasureStore, tenants: tuple[str, ...] | None) -> None:
        self._store, self._tenants = store, tenants

    async def survey(self, aggregate: str, aggregate_id: str | UUID | int, tenant_id: str | Unsaid | None) -> Erased:
        """What there is to erase."""
        return _erased(await self._surveyed(self._named(aggregate, aggregate_id, tenant_id), tenant_id))

    async def erase(
        self, aggregate: str, aggregate_id: str | UUID | int, tenant_id: str | Unsaid | None, *, actor: str, reason: str
    ) -> Erased:
        """Erase it."""
        if not actor.strip():
            raise OperationRefused("actor is empty: every action is recorded with who did it. Pass actor='…'.")
        if not reason.strip():
            raise OperationRefused("An erasure needs a reason, such as the number of the request: it is kept for good.")
        named = self._named(aggregate, aggregate_id, tenant_id)
        if isinstance(tenant_id, Unsaid):
            await self._surveyed(named, tenant_id)
        record = Record(actor, f"{aggregate}/{fingerprint(named.id)}", reason)
        return _erased(await self._store.erase(named, record))

    async def _surveyed(self, named: Aggregate, tenant_id: str | Unsaid | None) -> Tally:
        tally = await self._store.survey(named)
        if isinstance(tenant_id, Unsaid) and len(tally.tenants) > 1:
            raise OperationRefused(
                f"{len(tally.tenants)} tenants have a {named.name} of this id, and it is not said whose is meant. "
                "Nothing was changed. Pass tenant_id='…', or tenant_id=None for that of no tenant."
            )
        return tally

    def _named(self, aggregate: str, aggregate_id: object, tenant_id: str | Unsaid | None) -> Aggregate:
        text = str(aggregate_id)
        for what, value in (("aggregate", aggregate), ("aggregate_id", text)):
            if not value or _UNASKABLE.search(value):
                raise OperationRefused(f"{what}={ascii(value)[:80]} names no aggregate. Pass it as events have it.")
        if isinstance(tenant_id, Unsaid):
            return Aggregate(aggregate, text, self._tenants)
        allowed = self._tenants is None or tenant_id in self._tenants
        return Aggregate(aggregate, text, (tenant_id or "",) if allowed else ())


def fingerprint(aggregate_id: str) -> str:
    """How the record of actions names an aggregate's id, which may be personal itself."""
    return f"sha256:{hashlib.sha256(aggregate_id.encode()).hexdigest()[:16]}"


def _erased(tally: Tally) -> Erased:
    return Erased(tally.found, tally.events, tally.deliveries, tally.attempts)
