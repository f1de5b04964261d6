"""Which release of the library this is, and which process it is in."""

from __future__ import annotations

import importlib.metadata
import os
import socket
from typing import Any


def release() -> str:
    """The installed version; ``unknown`` from a bare source tree."""
    try:
        return importlib.metadata.version("fastapi-events-pg")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def process_facts() -> dict[str, Any]:
    """What a process says of itself when it enters its group."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "release": release()}
