"""An actor at work. Whose events somebody may see is decided here, for every page, route and action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi_events.api.actor import Actor
from fastapi_events.model.tenancy import Unsaid

if TYPE_CHECKING:
    from fastapi_events.api.observe import Observe
    from fastapi_events.api.operator_port import OperationsPort, OperatorPort

NO_TENANTS = (
    "authorize returned an Actor that does not say which tenants it may see, and multi_tenant (EVENTS_MULTI_TENANT) is "
    "on: nobody is let in. Return Actor(..., tenants=frozenset({'acme'})), or tenants=None for staff who may see all."
)


@dataclass(frozen=True, slots=True)
class Operator:
    """What one actor may read and do: the only way from a request to the readings and actions of the instance."""

    port: OperatorPort
    actor: Actor

    @property
    def refused(self) -> str | None:
        """Why this actor may do nothing at all: in a multi-tenant application, one who says nothing of tenants."""
        return NO_TENANTS if self.port.settings.multi_tenant and isinstance(self.actor.tenants, Unsaid) else None

    @property
    def of_some_tenants(self) -> bool:
        """Whether only some tenants' events may be seen, and nothing of the fleet."""
        return isinstance(self.actor.tenants, frozenset)

    @property
    def observe(self) -> Observe:
        """Readings of what the actor may see."""
        tenants = self.actor.tenants
        return self.port.observe.within(*tenants) if isinstance(tenants, frozenset) else self.port.observe

    @property
    def operations(self) -> OperationsPort:
        """Actions on what the actor may see."""
        tenants = self.actor.tenants
        return self.port.operations.within(*tenants) if isinstance(tenants, frozenset) else self.port.operations
