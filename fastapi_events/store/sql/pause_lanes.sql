-- Pauses lanes of a group ($3) or lets them go on, and tells processes by the revision. $1 group, $2 lanes.
-- Returns one row with whether that changed anything.
WITH found AS MATERIALIZED (
    SELECT g.id, CASE WHEN $3 THEN NOT g.paused_lanes @> $2::smallint[] ELSE g.paused_lanes && $2::smallint[] END AS changes
    FROM {schema}.consumer_group g WHERE g.id = $1
    FOR NO KEY UPDATE),
changed AS (
    UPDATE {schema}.consumer_group g
    SET paused_lanes = CASE WHEN $3
        THEN ARRAY(SELECT unnest(g.paused_lanes) UNION SELECT unnest($2::smallint[]) ORDER BY 1)
        ELSE ARRAY(SELECT unnest(g.paused_lanes) EXCEPT SELECT unnest($2::smallint[]) ORDER BY 1) END
    FROM found f WHERE g.id = f.id AND f.changes),
told AS (
    UPDATE {schema}.handler h SET revision = nextval('{schema}.handler_revision')
    FROM found f WHERE h.group_id = f.id AND f.changes)
SELECT changes FROM found
