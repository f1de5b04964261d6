"""Settings by environment (``EVENTS_…``) and by code, checked once, every problem in one message."""

from fastapi_events.settings.events_settings import EventsSettings
from fastapi_events.settings.urls import redacted

__all__ = ["EventsSettings", "redacted"]
