"""Broadcast handlers: what every process hears of the log, for itself and unrecorded.

Each process follows the log from its start, woken like the drains but beside them: it leases nothing, writes nothing,
and so shares no work with anybody. It reads (``reading``) and hands every event to the feeds (``feed``) of the handlers
that select it; a feed runs one handler's attempts, in order per key, and forgets them.

At most once: an event is forgotten as soon as its handler has been called, whatever came of it, and what was read when
the process ends is lost. What is left out for any other reason is logged and counted.
"""
