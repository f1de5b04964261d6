"""What a request hands on to the events that it causes, for as long as it is served."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID
from weakref import ref

from fastapi_events.api.session_binding import is_open
from fastapi_events.model.context import Flow, bound_by, current_flow, set_bound, set_flow

# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags; all zero is no id.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_CORRELATION = (b"x-correlation-id", b"x-request-id")


class Serving:
    """A request in which a publisher is bound to a session, as the context of its code sees it.

    It needs no end: it says nothing any more once the request object is gone, which is also what tasks want that were
    started in the request and outlive it, and binds nobody once the session is closed.
    """

    __slots__ = ("_before", "_description", "_flow", "_request", "_session")

    def __init__(self, request: Any, session: Any, description: str) -> None:
        self._request, self._session, self._description = ref(request), _reference(session), description
        self._before = (current_flow(), bound_by())
        self._flow: Flow | None = None

    def begin(self) -> None:
        """Hold for the rest of this context."""
        set_flow(self)
        set_bound(self)

    def flow(self) -> Flow:
        """What flows into events: correlation id and trace of the request, and what flowed before.

        ``X-Correlation-ID``, else ``X-Request-ID``, is the correlation id if it is a UUID; ``traceparent`` is kept if
        it is well-formed. What a middleware of the application has set already is left alone.
        """
        request = self._request()
        if request is None:
            return self._before[0]
        if self._flow is None:
            self._flow = _with_headers(self._before[0], request.scope["headers"])
        return self._flow

    def bound_by(self) -> str | None:
        """The publisher, while the request is served and its session is open."""
        session = self._session()
        if self._request() is None or session is None or not is_open(session):
            return self._before[1]
        return self._description


def _reference(session: Any) -> Callable[[], Any]:
    try:
        return ref(session)
    except TypeError:  # a connection that asyncpg's pool has lent
        return lambda: session


def _with_headers(flow: Flow, headers: Iterable[tuple[bytes, bytes]]) -> Flow:
    found = {name: value for name, value in headers if name in _CORRELATION or name == b"traceparent"}
    if not found:
        return flow
    correlation = flow.correlation_id or next(filter(None, map(_uuid, map(found.get, _CORRELATION))), None)
    trace = found.get(b"traceparent", b"").strip()
    traceparent = flow.traceparent or (trace.decode("ascii") if _TRACEPARENT.match(trace) else None)
    return replace(flow, correlation_id=correlation, traceparent=traceparent)


def _uuid(value: bytes | None) -> UUID | None:
    try:
        return UUID(value.decode("ascii").strip()) if value else None
    except ValueError:
        return None
