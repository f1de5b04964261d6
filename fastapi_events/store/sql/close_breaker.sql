-- Closes a handler's breaker, and tells other processes by the revision. $1 handler. Returns one row if it was open.
-- The group's row is locked before a revision is drawn: revisions become visible in their order, and the highest is the
-- newest.
WITH grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g
    WHERE g.id = (SELECT h.group_id FROM {schema}.handler h WHERE h.id = $1)
    FOR NO KEY UPDATE),
closed AS (
    UPDATE {schema}.breaker b SET opened_at = NULL, probe_at = NULL, failures = '{}', changed_at = clock_timestamp()
    FROM grouped
    WHERE b.handler_id = $1 AND b.opened_at IS NOT NULL
    RETURNING b.handler_id)
UPDATE {schema}.handler h SET revision = nextval('{schema}.handler_revision')
FROM closed c WHERE h.id = c.handler_id
RETURNING h.id
