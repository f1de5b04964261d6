"""The root of all errors, on its own so that every file of this room can build on it."""

from __future__ import annotations


class EventsError(Exception):
    """Root of every error raised by fastapi_events."""
