"""Who operates, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from fastapi_events.errors import DeclarationError
from fastapi_events.model.tenancy import UNSAID, Unsaid


class Permission(StrEnum):
    """What an actor may do with the dashboard and the JSON API; each is given by itself, none implies another.

    ``view``: lists, details, errors and tracebacks, without payloads. ``view_payload``: payloads and headers too, and
    searching in payloads; fields marked secret stay hidden. ``operate``: redrive, discard, cancel, retry, replay,
    pause, close breakers, and the record of who did so. ``edit``: give a run of a job another input. ``admin``: erase
    the content of an aggregate's events for good.
    """

    view = "view"
    view_payload = "view_payload"
    operate = "operate"
    edit = "edit"
    admin = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """The person or program behind a request, as ``Events(authorize=...)`` returns it.

    ``id`` goes into the record of operators' actions; ``name`` is shown. ``tenants`` are those whose events may be
    seen and acted on; None is all of them, and says so for staff. Where ``multi_tenant`` is on, an actor that says
    nothing of tenants is refused. Raises ``DeclarationError`` for tenants that are no frozenset of texts. Example::

        def authorize(user: Annotated[User, Depends(current_user)]) -> Actor:
            if not user.is_staff:
                raise HTTPException(403)
            return Actor(user.email, user.name, frozenset({Permission.view, Permission.operate}))
    """

    id: str
    name: str = ""
    permissions: frozenset[Permission] = field(default_factory=frozenset[Permission])
    tenants: frozenset[str] | Unsaid | None = UNSAID

    def __post_init__(self) -> None:
        given: Any = self.tenants  # callers may be untyped
        if given is None or isinstance(given, Unsaid):
            return
        # One text would be taken for a set of its letters.
        if not isinstance(given, frozenset) or not all(
            isinstance(one, str) for one in cast("frozenset[object]", given)
        ):
            raise DeclarationError(
                f"Actor(tenants={ascii(self.tenants)[:80]}): tenants is a frozenset of texts, such as "
                "frozenset({'acme'}), or None for all of them."
            )

    def may(self, permission: Permission) -> bool:
        """Whether the actor has this permission."""
        return permission in self.permissions


DEVELOPER = Actor("developer", "Developer", frozenset(Permission), tenants=None)
"""Who everybody is in development without ``authorize``."""
