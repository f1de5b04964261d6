"""The retry policy that the settings give to whatever has none of its own."""

from __future__ import annotations

from fastapi_events.model.retry import Backoff, Retry, exponential, fixed, linear
from fastapi_events.settings import EventsSettings


def retry_of(settings: EventsSettings) -> Retry:
    """So many attempts, with this back-off between them."""
    return Retry(settings.max_attempts, _backoff(settings))


def _backoff(settings: EventsSettings) -> Backoff:
    if settings.backoff == "fixed":
        return fixed(settings.backoff_first, jitter=settings.backoff_jitter)
    make = linear if settings.backoff == "linear" else exponential
    return make(settings.backoff_first, cap=settings.backoff_cap, jitter=settings.backoff_jitter)
