"""Giving history again to one handler, beside what is live.

A replay is cut into shares, one for each partition of the log. A process takes one under a short lease, gives its next
events to the handler one after the other, and records how far it has got: so several processes share a replay, the
order of each key holds, and a process that dies repeats a chunk of one share at most. What fails becomes a delivery of
the replay's own, whose key nothing live waits behind.
"""
