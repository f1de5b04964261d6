-- How many are at work at once in each process of a group, by pool, over what the settings say ($3; null: as they say, again), and
-- tells processes by the revision. $1 group, $2 the pool. Returns one row if there is such a group, with whether that changed anything.
-- The group's row is locked before a revision is drawn: revisions become visible in their order, and the highest is the newest.
WITH grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g WHERE g.id = $1
    FOR NO KEY UPDATE),
found AS MATERIALIZED (
    SELECT g.id, (SELECT p.concurrency FROM {schema}.pool p WHERE p.group_id = g.id AND p.name = $2)
               IS DISTINCT FROM $3::integer AS changes
    FROM grouped g),
changed AS (
    INSERT INTO {schema}.pool AS p (group_id, name, concurrency, revision)
    SELECT f.id, $2::text, $3::integer, nextval('{schema}.handler_revision') FROM found f WHERE f.changes
    ON CONFLICT (group_id, name) DO UPDATE
    SET concurrency = excluded.concurrency, revision = excluded.revision, changed_at = clock_timestamp())
SELECT f.changes FROM found f
