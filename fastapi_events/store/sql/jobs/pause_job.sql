-- Pauses a job ($3) or lets it go on, and tells processes by the revision. $1 group, $2 the job's name.
-- Returns one row if there is such a job, with whether that changed anything.
-- The group's row is locked before a revision is drawn: revisions become visible in their order, and the highest is the
-- newest.
WITH grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g WHERE g.id = $1
    FOR NO KEY UPDATE),
found AS MATERIALIZED (
    SELECT j.id, j.name, (j.paused_at IS NULL) = $3 AS changes
    FROM grouped g JOIN {schema}.job j ON j.group_id = g.id
    WHERE j.name = $2
    FOR UPDATE OF j),
changed AS (
    UPDATE {schema}.job j
    SET paused_at = CASE WHEN $3 THEN clock_timestamp() END, revision = nextval('{schema}.handler_revision')
    FROM found f WHERE j.id = f.id AND f.changes)
SELECT id, changes FROM found
