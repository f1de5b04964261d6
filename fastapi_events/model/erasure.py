"""What is left where content was erased; nothing else looks like it."""

from __future__ import annotations

from typing import Final

ERASED_PAYLOAD: Final = '{"fastapi_events.erased": true}'
"""The payload of an erased event, as PostgreSQL writes it out."""

ERASED_TEXT: Final = "The content of the event has been erased."
"""Stands for a message or note that may have quoted the payload, and is why its deliveries are discarded."""
