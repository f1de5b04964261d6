-- The group's number, made at first use. $1 name.
WITH made AS (
    INSERT INTO {schema}.consumer_group (name) SELECT $1
    WHERE NOT EXISTS (SELECT FROM {schema}.consumer_group WHERE name = $1)
    ON CONFLICT (name) DO NOTHING
    RETURNING id)
SELECT id FROM made UNION ALL SELECT id FROM {schema}.consumer_group WHERE name = $1 LIMIT 1
