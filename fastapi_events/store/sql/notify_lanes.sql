-- Wakes listeners when the caller's transaction commits. $1: the channel, $2: the numbers of the lanes.
SELECT pg_notify($1, $2)
