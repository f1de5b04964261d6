"""What is said of events and runs that nobody has committed."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi_events.api.publishing.buffer import Entry
from fastapi_events.model.run_start import RunStart


def lost_text(lost: Sequence[Entry]) -> str:
    """Which they are, by the first of each kind and where it was made, and what to write."""
    runs = [entry for entry in lost if isinstance(entry.envelope, RunStart)]
    events = [entry for entry in lost if not isinstance(entry.envelope, RunStart)]
    what, which, mends = list[str](), list[str](), list[str]()
    if events:
        what.append("published events")
        which.append(_some(events, "published"))
        mends.append("publish()")
    if runs:
        what.append("runs that were started")
        which.append(_some(runs, "started"))
        mends.append("jobs.start()")
    mend = f"Call commit() after {' and '.join(mends)}"
    mend += ", on the session that the client is bound to: another one's does not take them with it." if runs else "."
    return (
        f"A session ended with {' and '.join(what)}, which it neither committed nor rolled back; they are lost: "
        f"{'; '.join(which)}. {mend}"
    )


def _some(entries: Sequence[Entry], verb: str) -> str:
    first, others = entries[0], len(entries) - 1
    return f"{first.envelope.name}, {verb} at {first.site}" + (f", and {others} more" if others else "")
