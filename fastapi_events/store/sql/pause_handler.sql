-- Pauses a handler ($3) or lets it go on, and tells processes by the revision. $1 group, $2 the handler's name.
-- Returns one row if there is such a handler, with whether that changed anything.
WITH found AS MATERIALIZED (
    SELECT h.id, (h.paused_at IS NULL) = $3 AS changes
    FROM {schema}.handler h WHERE h.group_id = $1 AND h.name = $2
    FOR UPDATE),
changed AS (
    UPDATE {schema}.handler h
    SET paused_at = CASE WHEN $3 THEN clock_timestamp() END, revision = nextval('{schema}.handler_revision')
    FROM found f WHERE h.id = f.id AND f.changes)
SELECT id, changes FROM found
