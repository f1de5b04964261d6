"""What ``on()`` is told about a handler, checked where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Literal, TypedDict, get_args

from fastapi_events.errors import LONGEST_DELAY, ContradictoryOptions, DeclarationError
from fastapi_events.model.batch import checked_batch
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.broadcast import check_broadcast
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

    if retry is not None and not isinstance(retry, Retry):
        raise refuse(f"retry={_shown(retry)} is not a policy. Write {_as_retry(retry)}.")
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
        timeout=_checked_timeout(timeout, owner),
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


def _checked_timeout(timeout: Any, owner: str) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | timedelta):
        raise ContradictoryOptions(
            f"{owner}: timeout={_shown(timeout)} is not a number of seconds. Write timeout=5, or a timedelta."
        )
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if not seconds > 0:
        raise ContradictoryOptions(f"{owner}: timeout={seconds:g} leaves no time to run. Use more than 0.")
    if seconds > LONGEST_DELAY:
        raise ContradictoryOptions(f"{owner}: timeout={seconds:g} is longer than ten years. Use less.")
    return seconds


def _can_be_called(value: object) -> bool:
    return callable(value)


def _as_retry(value: object) -> str:
    number = value if type(value) is int and value > 0 else 3
    return f"retry=Retry(max_attempts={number})"


def _shown(value: object) -> str:
    return ascii(value)[:80]
