"""Which release of the library this is."""

from __future__ import annotations

import importlib.metadata


def release() -> str:
    """The installed version; ``unknown`` from a bare source tree."""
    try:
        return importlib.metadata.version("fastapi-events-pg")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
