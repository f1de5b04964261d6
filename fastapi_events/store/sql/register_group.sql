-- The group's number, made at first use. $1 name.
-- A process that makes the same group at the same moment is waited for; its row is younger than this statement's
-- snapshot, so only DO UPDATE can return it. A group that is seen from the start is not written to.
WITH made AS (
    INSERT INTO {schema}.consumer_group (name) SELECT $1
    WHERE NOT EXISTS (SELECT FROM {schema}.consumer_group WHERE name = $1)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING id)
SELECT id FROM made UNION ALL SELECT id FROM {schema}.consumer_group WHERE name = $1 LIMIT 1
