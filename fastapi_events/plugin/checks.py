"""What is checked when an instance is made or started, beyond what its parts check themselves."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi_events.engine.handlers import Handler
from fastapi_events.errors import SettingsError
from fastapi_events.settings import EventsSettings


def check_makers(sessions: object, sync_sessions: object) -> None:
    """Raise ``SettingsError`` for what makes sessions in a way that handlers' sessions cannot be made like."""
    for name, maker, wanted in (
        ("sessions", sessions, "async_sessionmaker(engine)"),
        ("sync_sessions", sync_sessions, "sessionmaker(engine)"),
    ):
        if maker is not None and not (hasattr(maker, "class_") and hasattr(maker, "kw")):
            raise SettingsError(
                f"Events({name}={maker!r}): handlers' sessions are made like the application's own, which takes a "
                f"session maker to look at. Pass SQLAlchemy's {wanted}."
            )


def checked_prefix(prefix: str) -> str:
    """The prefix as FastAPI takes it; raises ``SettingsError`` for one that cannot work."""
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise SettingsError(
            f"Events(prefix={prefix!r}): a prefix begins with '/' and does not end with one, e.g. '/events'."
        )
    return prefix


def check_retention(handlers: Iterable[Handler], settings: EventsSettings) -> None:
    """Marks must outlive every retry, or a late one would apply its effects again."""
    for handler in handlers:
        if handler.retry.longest_schedule > settings.processing_retention:
            raise SettingsError(
                f"handler {handler.id!r} may be retried for up to {handler.retry.longest_schedule:g} s, but marks of "
                f"handled events are kept {settings.processing_retention:g} s. Raise EVENTS_PROCESSING_RETENTION, or "
                "lower the handler's max_attempts or backoff."
            )
