-- Takes the content away from the next events of an aggregate, from the copies of dead deliveries, and from whatever a
-- failed attempt may have quoted of it. The envelope stays as it is, above all position and transaction id, by which
-- cursors find events: to them nothing has happened. So do the versions that an event has, by which processes of older
-- releases know that it is for them too.
--
-- $1 aggregate, $2 its id, $3 whose events (null: anybody's; the empty text stands for nobody's), $4 above this
-- position, $5 events at most, $6 what a payload becomes, $7 what a message becomes.
-- Returns how many events were found and up to which position, whose they are, and what was changed.
WITH page AS MATERIALIZED (
    SELECT e.lane, e.partition, e.position, coalesce(e.tenant_id, '') AS tenant,
           e.payload <> $6::jsonb OR e.headers IS NOT NULL AS speaks
    FROM {schema}.event e
    WHERE e.aggregate = $1 AND e.aggregate_id = $2 AND e.position > $4
      AND ($3::text[] IS NULL OR coalesce(e.tenant_id, '') = ANY ($3))
    ORDER BY e.aggregate, e.aggregate_id, e.position
    LIMIT $5
    FOR NO KEY UPDATE),
events AS (
    UPDATE {schema}.event e
    SET payload = $6::jsonb, headers = NULL,
        other_versions = (
            SELECT jsonb_object_agg(v.version, $6::jsonb)
            FROM jsonb_object_keys(CASE WHEN jsonb_typeof(e.other_versions) = 'object' THEN e.other_versions END) AS v(version))
    FROM page p
    WHERE p.speaks AND e.lane = p.lane AND e.partition = p.partition AND e.position = p.position
    RETURNING e.position),
-- In the order in which redrives lock them. What waits has no copy yet, but may have failed before.
touched AS MATERIALIZED (
    SELECT d.id, d.handler_id, d.position, d.replay_id,
           coalesce(d.event -> 'payload' <> $6::jsonb, false) OR coalesce(d.error_message <> $7, false)
               OR coalesce(d.note <> $7, false) AS speaks
    FROM {schema}.delivery d
    WHERE d.position = ANY (ARRAY(SELECT position FROM page))
    ORDER BY d.handler_id, d.position, d.replay_id
    FOR NO KEY UPDATE),
deliveries AS (
    UPDATE {schema}.delivery d
    SET event = d.event || jsonb_build_object('payload', $6::jsonb, 'headers', NULL, 'other_versions', (
            SELECT jsonb_object_agg(v.version, $6::jsonb)
            FROM jsonb_object_keys(CASE WHEN jsonb_typeof(d.event -> 'other_versions') = 'object' THEN d.event -> 'other_versions' END) AS v(version))),
        error_message = CASE WHEN d.error_message IS NOT NULL THEN $7 END,
        note = CASE WHEN d.note IS NOT NULL THEN $7 END
    FROM touched t
    WHERE t.speaks AND d.handler_id = t.handler_id AND d.position = t.position AND d.replay_id = t.replay_id
    RETURNING d.id),
attempts AS (
    UPDATE {schema}.attempt a
    SET error_message = CASE WHEN a.error_message IS NOT NULL THEN $7 END, traceback = NULL
    WHERE a.delivery_id = ANY (ARRAY(SELECT id FROM touched))
      AND (coalesce(a.error_message <> $7, false) OR a.traceback IS NOT NULL)
    RETURNING a.number)
SELECT count(*) AS found, max(p.position) AS reached, coalesce(array_agg(DISTINCT p.tenant), '{}') AS tenants,
       (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM deliveries) AS deliveries,
       (SELECT count(*) FROM attempts) AS attempts
FROM page p
