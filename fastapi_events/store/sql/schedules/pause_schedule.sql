-- Pauses a schedule: no tick comes until it is resumed. $1 group, $2 its name. One row if there is such a schedule, with
-- whether that changed anything.
WITH found AS MATERIALIZED (
    SELECT s.id, s.paused_at IS NULL AS changes
    FROM {schema}.schedule s
    WHERE s.group_id = $1 AND s.name = $2
    FOR NO KEY UPDATE),
changed AS (
    UPDATE {schema}.schedule s SET paused_at = clock_timestamp() WHERE s.id = (SELECT f.id FROM found f WHERE f.changes))
SELECT f.changes FROM found f
