"""What tests of an application use: see ``docs/how-to/testing.md``."""

from __future__ import annotations

from fastapi_events.testing.memory import in_memory

__all__ = ["in_memory"]
