"""Where the pages are, as the browser sees it.

Taken from the request itself, as a path without scheme and host: so links are right behind any prefix, nested router,
mount or proxy, whether or not the proxy strips what it adds, and never change from https to http.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

PREFIX = "/dashboard"


def base_path(scope: Mapping[str, Any], own_path: str) -> str:
    """The path of the dashboard's first page; ``own_path`` is that of the route inside the dashboard's router."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if not (path == root or path.startswith(f"{root}/")):
        path = root + path  # the proxy strips the prefix that it tells
    parts = path.strip("/").split("/")
    below = [part for part in own_path.removeprefix(PREFIX).split("/") if part]
    return "/" + quote("/".join(parts[: len(parts) - len(below)]), safe="/-._~!$&'()*+,;=:@")


def with_query(path: str, **parameters: Any) -> str:
    """A path with those of the parameters that are neither None nor empty; a list repeats its name."""
    given = {name: value for name, value in parameters.items() if value not in (None, "", [])}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path
