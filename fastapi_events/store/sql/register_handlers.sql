-- Makes handlers known to the group; only a change raises the revision, which makes other processes read anew.
-- $1 group, $2 a JSON array of handlers: id (null: a new one), name, former_names, selects, ordered, on_dead, job (which
-- it starts: a trigger), and for a new one start_position, start_time and start_pattern: see start_handlers.
WITH given AS MATERIALIZED (
    SELECT h.* FROM jsonb_to_recordset($2::jsonb)
        AS h(id integer, name text, former_names text[], selects text, ordered boolean, on_dead text, start_position bigint,
             start_time timestamptz, start_pattern text, job text)),
-- A renamed handler keeps its row, and with it its deliveries, marks and start.
known AS (
    UPDATE {schema}.handler h
    SET name = g.name, former_names = g.former_names, selects = g.selects, ordered = g.ordered, on_dead = g.on_dead,
        job = g.job, last_seen_at = clock_timestamp(), retired_at = NULL,
        revision = CASE WHEN (h.name, h.former_names, h.selects, h.ordered, h.on_dead)
                             = (g.name, g.former_names, g.selects, g.ordered, g.on_dead)
                             AND h.job IS NOT DISTINCT FROM g.job AND h.retired_at IS NULL
                        THEN h.revision ELSE nextval('{schema}.handler_revision') END
    FROM given g
    WHERE h.id = g.id),
-- Dead deliveries of a handler that now lets followers pass hold nothing any more.
passing AS MATERIALIZED (
    SELECT h.id FROM {schema}.handler h JOIN given g ON g.id = h.id WHERE h.on_dead = 'park' AND g.on_dead = 'continue'),
released AS (
    UPDATE {schema}.delivery d SET holds = false FROM passing p
    WHERE d.handler_id = p.id AND d.state = 'dead' AND d.holds),
-- Every blocked key that may be held by a dead delivery: those that need a newer version have an index of their own,
-- and those that are run alone are not held.
keys AS (
    UPDATE {schema}.parked_key k
    SET version = k.version + 1,
        due_at = CASE WHEN k.due_at = 'infinity' THEN clock_timestamp() ELSE k.due_at END
    WHERE k.ctid = ANY (ARRAY(
        SELECT found.ctid
        FROM passing p
        CROSS JOIN LATERAL (
            SELECT usual.ctid
            FROM (SELECT q.ctid FROM {schema}.parked_key q
                  WHERE q.handler_id = p.id AND q.blocked AND q.needs = 0 AND NOT q.suspect
                  ORDER BY q.handler_id, q.due_at
                  FOR UPDATE) usual
            UNION ALL
            SELECT newer.ctid
            FROM (SELECT q.ctid FROM {schema}.parked_key q
                  WHERE q.handler_id = p.id AND q.blocked AND q.needs > 0 AND NOT q.suspect
                  ORDER BY q.handler_id, q.needs, q.due_at
                  FOR UPDATE) newer) found)))
INSERT INTO {schema}.handler (group_id, name, former_names, selects, ordered, on_dead, start_position, start_time,
                              start_pattern, job)
SELECT $1, g.name, g.former_names, g.selects, g.ordered, g.on_dead, g.start_position, g.start_time, g.start_pattern, g.job
FROM given g WHERE g.id IS NULL ORDER BY g.name
