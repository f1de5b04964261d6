"""Whose event it is: said by the publisher, or by the request or delivery that it is published in."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from fastapi_events.errors import InvalidPayload, MissingTenantIdError
from fastapi_events.model.context import flowing
from fastapi_events.model.payload import checked_text


class Unsaid(Enum):
    """The value of an option that was not given, where None says something."""

    UNSAID = "unsaid"

    def __repr__(self) -> str:
        return "UNSAID"


UNSAID: Final = Unsaid.UNSAID


@contextmanager
def tenant(tenant_id: str) -> Generator[str]:
    """Say whose the events are that a block of code publishes, unless their ``tenant_id=`` says otherwise.

    It holds for this task and those that it starts, and ends with the block, whatever else has been set meanwhile.
    Raises ``InvalidPayload`` for a tenant that cannot be one; work without a tenant says so where it publishes, by
    ``tenant_id=None``. Example::

        with tenant(invoice.customer):
            await publish(InvoiceSent(invoice_id=invoice.id))
    """
    with flowing(tenant_id=_checked_block(tenant_id)):
        yield tenant_id


def _checked_block(tenant_id: object) -> str:
    if tenant_id is None:
        raise InvalidPayload(
            "tenant(): None is nobody, and a block of code says whose its events are. For no tenant pass "
            "tenant_id=None to publish.",
            path="$.tenant_id",
        )
    return checked_tenant(tenant_id, "tenant()")


def checked_tenant(tenant_id: object, owner: str) -> str:
    """The tenant, or ``InvalidPayload`` for what cannot be one.

    A slash ends the tenant in the ordering key: with one inside, a tenant could have the keys of another.
    """
    text = checked_text(tenant_id, "tenant_id", owner)
    if not text or text.isspace():
        raise InvalidPayload(
            f"{owner}: tenant_id={text!r} is blank, which is nobody. Pass the tenant's id, or None for an event that "
            "belongs to no tenant.",
            path="$.tenant_id",
        )
    if "/" in text:
        raise InvalidPayload(
            f"{owner}: tenant_id={ascii(text)[:80]} holds a slash, which separates tenant, aggregate and value in the "
            "ordering key. Use an id without one.",
            path="$.tenant_id",
        )
    return text


def missing_tenant(owner: str) -> MissingTenantIdError:
    """The error of a publish that says of no event whose it is."""
    return MissingTenantIdError(
        f"{owner}: no tenant, and multi_tenant (EVENTS_MULTI_TENANT) is on. Pass tenant_id='…', set it for a request "
        "by tenant_from(...) or for a block of code by `with tenant('…'):`, or pass tenant_id=None if the event "
        "belongs to no tenant."
    )
