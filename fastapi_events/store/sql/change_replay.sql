-- Pauses, resumes or cancels a replay, and tells the processes of its group by the handlers' revision. $1 group, $2 replay,
-- $3 the new state, $4 the states from which that changes something, $5 the tenants that may do so (null: everybody; else a
-- replay of other tenants' events is not there). Returns one row if there is such a replay, with its state before.
-- The group's row is locked before a revision is drawn, and before what hangs on it.
WITH grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g WHERE g.id = $1
    FOR NO KEY UPDATE),
found AS MATERIALIZED (
    SELECT r.id, r.state, r.handler_id, r.tenants, h.name
    FROM grouped g
    JOIN {schema}.replay r ON r.id = $2
    JOIN {schema}.handler h ON h.id = r.handler_id AND h.group_id = g.id
    WHERE $5::text[] IS NULL OR r.tenants <@ $5
    FOR UPDATE OF r),
changed AS (
    UPDATE {schema}.replay r
    SET state = $3, changed_at = clock_timestamp(),
        finished_at = CASE WHEN $3 = 'cancelled' THEN clock_timestamp() ELSE r.finished_at END
    FROM found f WHERE r.id = f.id AND f.state = ANY ($4::text[])
    RETURNING r.handler_id),
told AS (
    UPDATE {schema}.handler h SET revision = nextval('{schema}.handler_revision')
    WHERE h.id = ANY (ARRAY(SELECT c.handler_id FROM changed c)))
SELECT f.id, f.state, f.tenants, f.name FROM found f
