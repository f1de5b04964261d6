"""The composition root: ``Events`` puts modules, settings, store, engine and pages together."""

from fastapi_events.plugin.application import Events

__all__ = ["Events"]
