-- Makes jobs known to the group. $1 group, $2 a JSON array of jobs: id (null: a new one), name, former_names, pool, announces.
WITH given AS MATERIALIZED (
    SELECT j.* FROM jsonb_to_recordset($2::jsonb) AS j(id integer, name text, former_names text[], pool text, announces boolean)),
-- A renamed job keeps its row, and with it its runs.
known AS (
    UPDATE {schema}.job j
    SET name = g.name, former_names = g.former_names, pool = g.pool, announces = g.announces, last_seen_at = clock_timestamp()
    FROM given g
    WHERE j.id = g.id)
INSERT INTO {schema}.job (group_id, name, former_names, pool, announces)
SELECT $1, g.name, g.former_names, g.pool, g.announces FROM given g WHERE g.id IS NULL ORDER BY g.name
