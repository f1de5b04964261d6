"""What a batch handler may ask for, checked when modules are assembled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from fastapi_events.engine.handler_session import SyncHandlerSession
from fastapi_events.engine.injection import DELIVERIES
from fastapi_events.errors import InvalidHandler
from fastapi_events.model.delivery import Delivery
from fastapi_events.model.event_parameter import check_event_parameter, check_list_parameter
from fastapi_events.model.module import HandlerDeclaration

if TYPE_CHECKING:
    from fastapi_events.engine.handlers import Handler


def check_first_parameter(declaration: HandlerDeclaration, owner: str) -> None:
    """Once more what was checked at the declaration: an annotation may not have been readable then."""
    in_lists = declaration.batch is not None
    check_list_parameter(declaration.function, in_lists=in_lists, owner=owner)
    if declaration.event_class is not None:
        check_event_parameter(declaration.function, declaration.event_class, in_lists=in_lists, owner=owner)


def types_for(declaration: HandlerDeclaration, known: frozenset[type[Any]]) -> frozenset[type[Any]]:
    """What can be given to a handler by type: one of lists has no one delivery."""
    return known if declaration.batch is None else (known - {Delivery}) | {DELIVERIES}


def check_lists(handler: Handler, owner: str, publishers: Iterable[type[Any]]) -> None:
    """Refuse what would not be recorded together with a list's success."""

    def refuse(problem: str) -> NoReturn:
        raise InvalidHandler(f"{owner}: {problem}")

    wants = handler.signature.wants
    if SyncHandlerSession in wants:
        refuse(
            "takes a SyncHandlerSession, but with batch= the marks of a whole list are written in its transaction, "
            "which the library does for async handlers only. Make it async def and take a HandlerSession, or leave "
            "batch= out."
        )
    asked = next((kind.__name__ for kind in publishers if kind in wants), None)
    if asked is not None and not handler.transactional:
        refuse(
            f"takes the publisher {asked} without a session, but with batch= what it publishes belongs to all events "
            "of a list, and only a transaction records them together. Add a parameter session: HandlerSession."
        )
