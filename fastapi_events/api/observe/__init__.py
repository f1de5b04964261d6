"""Reading what happened: one read-only facade for the pages, the JSON API, the command line and metrics."""

from fastapi_events.api.observe.facade import COUNT_LIMIT, Observe
from fastapi_events.api.observe.page_size import MAX_PAGE

__all__ = ["COUNT_LIMIT", "MAX_PAGE", "Observe"]
