"""Who operates, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Permission(StrEnum):
    """What an actor may do with the dashboard and the JSON API; each is given by itself, none implies another.

    ``view``: lists, details, errors and tracebacks, without payloads. ``view_payload``: payloads and headers too, and
    searching in payloads; fields marked secret stay hidden. ``operate``: redrive and discard, and the record of who
    did so. ``edit`` and ``admin`` are reserved for changing payloads and for settings at run time.
    """

    view = "view"
    view_payload = "view_payload"
    operate = "operate"
    edit = "edit"
    admin = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """The person or program behind a request, as ``Events(authorize=...)`` returns it.

    ``id`` goes into the record of operators' actions; ``name`` is shown. Example::

        def authorize(user: Annotated[User, Depends(current_user)]) -> Actor:
            if not user.is_staff:
                raise HTTPException(403)
            return Actor(user.email, user.name, frozenset({Permission.view, Permission.operate}))
    """

    id: str
    name: str = ""
    permissions: frozenset[Permission] = field(default_factory=frozenset[Permission])

    def may(self, permission: Permission) -> bool:
        """Whether the actor has this permission."""
        return permission in self.permissions


DEVELOPER = Actor("developer", "Developer", frozenset(Permission))
"""Who everybody is in development without ``authorize``."""
