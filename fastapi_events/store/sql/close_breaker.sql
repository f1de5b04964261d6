-- Closes a handler's breaker, and tells other processes by the revision. $1 handler. Returns one row if it was open.
WITH closed AS (
    UPDATE {schema}.breaker SET opened_at = NULL, probe_at = NULL, failures = '{}', changed_at = clock_timestamp()
    WHERE handler_id = $1 AND opened_at IS NOT NULL
    RETURNING handler_id)
UPDATE {schema}.handler h SET revision = nextval('{schema}.handler_revision')
FROM closed c WHERE h.id = c.handler_id
RETURNING h.id
