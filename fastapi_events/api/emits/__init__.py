"""Classes whose rows tell of themselves: what a flush inserts, updates and deletes becomes events by itself.

``declaration`` reads what a class says, ``watching`` hears of the rows that a flush writes, ``differences`` finds what
has changed in them, ``telling`` turns that into events of the session's transaction, one for each row, and ``guard``
refuses the statements that change rows without loading them. ``table_model`` is the keyword for SQLModel's classes.
"""

from fastapi_events.api.emits.declaration import emits
from fastapi_events.api.emits.guard import without_events

__all__ = ["emits", "without_events"]
