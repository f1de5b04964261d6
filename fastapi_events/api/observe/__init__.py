"""Reading what happened: one read-only facade for the pages, the JSON API, the command line and metrics."""

from fastapi_events.api.observe.facade import COUNT_LIMIT, MAX_PAGE, Observe

__all__ = ["COUNT_LIMIT", "MAX_PAGE", "Observe"]
