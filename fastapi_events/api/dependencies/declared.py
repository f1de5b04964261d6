"""A session's dependency as the user declared it: an alias, a ``Depends(...)``, or a bare callable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from fastapi import Depends, params
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.errors import DeclarationError


@dataclass(frozen=True, slots=True)
class Declared:
    """The annotation that gives the session, and the name of what gives it."""

    annotation: Any
    name: str

    @classmethod
    def of(cls, session: Any, asked_by: str) -> Declared:
        """Read what ``publisher_on`` was given; ``asked_by`` is what the error names. Raises ``DeclarationError``."""
        annotation = session if get_origin(session) is Annotated else Annotated[Any, _depends(session)]
        found = [extra for extra in get_args(annotation)[1:] if isinstance(extra, params.Depends)]
        if not found:
            raise DeclarationError(
                f"{asked_by}({session!r}): pass the session's alias, e.g. "
                "SessionDep = Annotated[AsyncSession, Depends(get_session)], or Depends(get_session), or get_session."
            )
        if not found[-1].use_cache:
            raise DeclarationError(
                f"{asked_by}({session!r}): with use_cache=False the endpoint and the publisher get two sessions, and "
                "the event is in another transaction than the rows. Leave use_cache=False out."
            )
        dependency = found[-1].dependency or get_args(annotation)[0]
        return cls(annotation, getattr(dependency, "__qualname__", type(dependency).__qualname__))


def _depends(session: Any) -> Any:
    # A session's class alone is a mistake often made: FastAPI would take it for a dependency and fill its parameters.
    return Depends(session) if callable(session) and session not in (AsyncSession, Session) else session
