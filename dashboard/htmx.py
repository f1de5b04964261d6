"""The little that pages need to know of htmx: what a request asks for, and how an answer steers the browser.

Understands the headers of htmx 4 and of htmx 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VARY = "HX-Request, HX-Request-Type, HX-History-Restore-Request"
"""The request headers on which an answer depends."""


@dataclass(frozen=True, slots=True)
class Htmx:
    """What a request says about itself. ``target`` is the id of the element that the answer is meant for."""

    is_request: bool
    wants_page: bool
    target: str | None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Htmx:
        """Read the headers; without them it is a browser's own request for a page."""
        is_request = headers.get("hx-request") == "true"
        restores = headers.get("hx-history-restore-request") == "true"
        whole = restores or headers.get("hx-request-type") == "full"
        return cls(is_request, not is_request or whole, _element_id(headers.get("hx-target")))


def retargeted(selector: str, *, shown: bool) -> dict[str, str]:
    """Headers that put the answer's content into another element than was asked for; ``shown`` scrolls to it."""
    return {"HX-Retarget": selector, "HX-Reswap": f"innerHTML{' show:top' if shown else ''}", "HX-Push-Url": "false"}


def redirected(path: str) -> dict[str, str]:
    """Headers that make the browser leave for another page."""
    return {"HX-Redirect": path}


def _element_id(target: str | None) -> str | None:
    """The id in ``tag#id`` (htmx 4) or ``id`` (htmx 2)."""
    if not target:
        return None
    tag, separator, element_id = target.rpartition("#")
    return element_id if separator else tag or element_id
