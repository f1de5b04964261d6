"""Publishing inside the user's own transaction, from a sealed event to the wake-up after the root commit.

``session_events`` holds what a session has published, tagged with the (sub)transaction it was published in;
``session_hooks`` hears of commits and rollbacks; ``append`` writes the rows right before the root commit;
``wake_after`` tells the loops once it is through. Connections have no unit of work: their events are appended at once.
"""

from fastapi_events.api.publishing.port import Published, PublishingPort

__all__ = ["Published", "PublishingPort"]
