"""Actions come from our own pages: a rule for browsers that needs neither session nor token.

Browsers say of every request where it comes from: ``Sec-Fetch-Site`` to trustworthy origins (HTTPS, localhost), and
``Origin`` with every POST. A request without either is no browser's; it is let in unless it carries what a browser
would send along by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import HTTPException, Request


async def same_origin(request: Request) -> None:
    """A dependency of every route that changes something: raises 403 for a request from another site."""
    reason = cross_site_reason(request.headers, request.url.scheme)
    if reason:
        raise HTTPException(403, reason)


def cross_site_reason(headers: Mapping[str, str], scheme: str) -> str | None:
    """Why a request that changes something is refused; None if it is not."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return None
        return f"Refused: the request comes from another site (Sec-Fetch-Site: {site[:20]})."
    origin = headers.get("origin")
    if origin is not None:
        host = headers.get("host", "")
        asked = _host_of(f"{scheme}://{host}")
        if asked is not None and _host_of(origin) == asked:
            return None
        return (
            f"Refused: the request's Origin is not the host that was asked ({host[:100]!r}). Behind a proxy, make it "
            "pass the Host header on."
        )
    if "cookie" in headers or headers.get("authorization", "").lower().startswith("basic"):
        return (
            "Refused: the request has a cookie or Basic credentials, but does not say where it comes from. A browser "
            "says so by itself. A program sends 'Sec-Fetch-Site: same-origin' along, or uses a Bearer token."
        )
    return None


def _host_of(origin: str) -> str | None:
    """Host and port of an origin, without the scheme's default port; None for ``null`` and the like."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.scheme not in ("http", "https"):
        return None
    return parts.hostname if port in (None, 80, 443) else f"{parts.hostname}:{port}"
