-- Wakes listeners when the caller's transaction commits. $1: the channel, $2: where to look.
SELECT pg_notify($1, $2)
