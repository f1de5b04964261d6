"""Jobs on memory: the stores that the engine's pools, settling, steps and waits work on, in place of PostgreSQL's.

``runs`` is what tables keep, and how runs begin and end; ``starting`` decides about starts in open transactions; each
other module is one of the stores, with what its statements do.
"""
