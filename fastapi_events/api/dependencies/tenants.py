"""The tenant of a request, from wherever the application knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, get_args, get_origin

from fastapi import Depends, params

from fastapi_events.api.dependencies.publishers import sign
from fastapi_events.errors import DeclarationError
from fastapi_events.model.context import flowing
from fastapi_events.model.tenancy import checked_tenant


def tenant_from(dependency: Any) -> Callable[..., AsyncIterator[str | None]]:
    """A dependency that makes another one's value the tenant of all events that the request publishes.

    ``dependency`` is a callable, a ``Depends(...)`` or an alias, and gives the tenant's id, or None where a request has
    none. Handlers of those events, and what they publish, inherit it. Take it from who is signed in, never from what a
    client may choose. For a whole application, or a router::

        app = FastAPI(dependencies=[Depends(tenant_from(tenant_of_user))])

    Raises ``DeclarationError`` for anything else, and in the request ``InvalidPayload`` for what is no tenant.
    """
    annotation = dependency if get_origin(dependency) is Annotated else Annotated[Any, _depends(dependency)]
    if not any(isinstance(extra, params.Depends) for extra in get_args(annotation)[1:]):
        raise DeclarationError(
            f"tenant_from({dependency!r}): pass the dependency that gives the tenant's id: a function, "
            "Depends(function), or its alias."
        )

    async def request_tenant(given: Any) -> AsyncIterator[str | None]:
        tenant_id = None if given is None else checked_tenant(given, "tenant_from()")
        with flowing(tenant_id=tenant_id):
            yield tenant_id

    sign(request_tenant, given=annotation)
    return request_tenant


def _depends(dependency: Any) -> Any:
    return Depends(dependency) if callable(dependency) else dependency
