"""Python's garbage collector in a process that does nothing but handle events."""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """Make collections rare; ``fastapi-events worker`` does so once its handlers are loaded.

    What was imported stays for good, and a batch of events is young garbage that reference counts free. With the
    interpreter's defaults a third of a busy worker's time goes into collections. It concerns the whole process: a web
    application that handles events itself is left alone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
