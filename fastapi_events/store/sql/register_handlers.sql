-- Makes handlers known to the group; only what changed is written, and only a change raises the revision.
-- $1 group, $2 a JSON array of handlers: name, selects, ordered, on_dead, was.
WITH given AS MATERIALIZED (
    SELECT h.* FROM jsonb_to_recordset($2::jsonb)
        AS h(name text, selects text, ordered boolean, on_dead text, was jsonb)),
-- A renamed handler keeps its row, and with it its deliveries, marks and start.
renamed AS (
    UPDATE {schema}.handler h
    SET name = g.name, selects = g.selects, ordered = g.ordered, on_dead = g.on_dead, retired_at = NULL,
        revision = nextval('{schema}.handler_revision')
    FROM given g
    WHERE h.group_id = $1 AND g.was @> to_jsonb(h.name)
      AND NOT EXISTS (SELECT FROM {schema}.handler n WHERE n.group_id = $1 AND n.name = g.name)
    RETURNING h.name)
INSERT INTO {schema}.handler AS h (group_id, name, selects, ordered, on_dead)
SELECT $1, g.name, g.selects, g.ordered, g.on_dead FROM given g
WHERE g.name NOT IN (SELECT name FROM renamed)
ORDER BY g.name
ON CONFLICT (group_id, name) DO UPDATE
SET selects = excluded.selects, ordered = excluded.ordered, on_dead = excluded.on_dead, last_seen_at = clock_timestamp(),
    retired_at = NULL,
    revision = CASE WHEN (h.selects, h.ordered, h.on_dead) = (excluded.selects, excluded.ordered, excluded.on_dead)
                         AND h.retired_at IS NULL
                    THEN h.revision ELSE nextval('{schema}.handler_revision') END
