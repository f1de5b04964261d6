"""What ``on()`` is told about a handler, checked where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal, TypedDict, get_args

from fastapi_events.errors import ContradictoryOptions, DeclarationError
from fastapi_events.model.batch import checked_batch
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.broadcast import check_broadcast
from fastapi_events.model.durations import checked_span
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.middleware_checks import checked_middleware
from fastapi_events.model.retry import Retry
from fastapi_events.model.start import Start, checked_start

OnDead = Literal["park", "continue"]
_HANDLER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")


class HandlerOptions(TypedDict):
    """The options of one handler as its declaration keeps them; a time-out is in seconds."""

    retry: Retry | None
    timeout: float | None
    idempotency_key: Callable[[Any], str] | None
    ordered: bool
    on_dead: OnDead
    was: tuple[str, ...]
    breaker: Breaker | Literal[False] | None
    middleware: tuple[Middleware, ...]
    broadcast: bool
    audit: bool
    batch: int | None
    start: Start | None


def checked_options(
    owner: str,
    *,
    retry: Any,
    timeout: Any,
    idempotency_key: Any,
    ordered: Any,
    on_dead: Any,
    was: Any,
    breaker: Any,
    middleware: Any,
    broadcast: Any,
    audit: Any,
    batch: Any,
    start: Any,
) -> HandlerOptions:
    """The options, if each is a value that can work; ``owner`` is what the errors name.

    Raises ``ContradictoryOptions``, ``InvalidMiddleware``, or ``DeclarationError`` for an id.
    """

    def refuse(problem: str) -> ContradictoryOptions:
        return ContradictoryOptions(f"{owner}: {problem}")

    check_retry(retry, owner)
    _check_key(idempotency_key, owner)
    if not isinstance(ordered, bool):
        raise refuse(f"ordered={_shown(ordered)} is neither True nor False.")
    _check_on_dead(on_dead, owner)
    if isinstance(was, str) or not hasattr(was, "__iter__"):
        raise refuse(f"was={_shown(was)} is not a list of ids. Write was=['old.id'].")
    _check_breaker(breaker, owner)
    check_broadcast(
        owner, broadcast=broadcast, audit=audit, retry=retry, idempotency_key=idempotency_key, on_dead=on_dead, was=was,
        breaker=breaker,
    )  # fmt: skip
    return HandlerOptions(
        retry=retry,
        timeout=checked_span(timeout, "timeout", owner, none="leaves no time to run"),
        idempotency_key=idempotency_key,
        ordered=ordered,
        on_dead=on_dead,
        was=tuple(map(checked_id, was)),
        breaker=breaker,
        middleware=checked_middleware(owner, middleware),
        broadcast=broadcast, audit=audit,
        batch=checked_batch(batch, owner, broadcast=broadcast),
        start=checked_start(start, owner, broadcast=broadcast),
    )  # fmt: skip


def checked_id(handler_id: object) -> str:
    """The id of a handler; raises ``DeclarationError`` for what can't be one."""
    if not isinstance(handler_id, str) or not _HANDLER_ID.match(handler_id):
        raise DeclarationError(
            f"handler id {_shown(handler_id)}: an id is 1 to 200 letters, digits and the signs '_.:-'. Give one with "
            "id='orders.notify'."
        )
    return handler_id


def check_retry(retry: Any, owner: str) -> None:
    """Raise ``ContradictoryOptions`` for what is no policy."""
    if retry is not None and not isinstance(retry, Retry):
        number = retry if type(retry) is int and retry > 0 else 3
        raise ContradictoryOptions(
            f"{owner}: retry={_shown(retry)} is not a policy. Write retry=Retry(max_attempts={number})."
        )


def _check_key(idempotency_key: Any, owner: str) -> None:
    if not (idempotency_key is None or _can_be_called(idempotency_key)):
        raise ContradictoryOptions(
            f"{owner}: idempotency_key={_shown(idempotency_key)} is not a function of the event. Write e.g. "
            "idempotency_key=lambda event: f'reserve-{event.order_id}'."
        )


def _check_on_dead(on_dead: Any, owner: str) -> None:
    if on_dead not in get_args(OnDead):
        near = get_close_matches(str(on_dead), get_args(OnDead), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ContradictoryOptions(f"{owner}: on_dead={_shown(on_dead)} is neither 'park' nor 'continue'.{hint}")


def _check_breaker(breaker: Any, owner: str) -> None:
    if not (breaker is None or breaker is False or isinstance(breaker, Breaker)):
        raise ContradictoryOptions(
            f"{owner}: breaker={_shown(breaker)} is no circuit breaker. Write breaker=Breaker(threshold=5), or "
            "breaker=False to have none."
        )


def _can_be_called(value: object) -> bool:
    return callable(value)


def _shown(value: object) -> str:
    return ascii(value)[:80]
