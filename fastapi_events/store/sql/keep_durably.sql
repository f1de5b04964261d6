-- The transaction that is open here waits for the disk: it records more than bookkeeping that could be done again.
SET LOCAL synchronous_commit = on
