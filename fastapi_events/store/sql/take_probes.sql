-- Takes the right to one attempt of each handler whose breaker is open, whose probe is due, and that has something due.
-- Nobody else gets it until the recovery time has passed. $1 handlers, $2 their recovery times in seconds, $3 the newest
-- versions of their events that this process reads: keys that need a newer one have an index of their own; $4 lanes that
-- are paused. Returns the handlers whose probes were taken, and those whose breakers are not open at all.
WITH taken AS (
    UPDATE {schema}.breaker b
    SET probe_at = clock_timestamp() + make_interval(secs => h.recovery), changed_at = clock_timestamp()
    FROM unnest($1::integer[], $2::float8[], $3::integer[]) AS h(id, recovery, reads)
    WHERE b.handler_id = ANY ($1) AND b.handler_id = h.id AND b.opened_at IS NOT NULL
      AND b.probe_at <= clock_timestamp()
      AND NOT EXISTS (SELECT FROM {schema}.handler x WHERE x.id = h.id AND x.paused_at IS NOT NULL)
      AND (EXISTS (
               SELECT FROM {schema}.parked_key p
               WHERE p.handler_id = h.id AND p.blocked AND p.needs = 0 AND NOT p.suspect
                 AND p.due_at <= (SELECT clock_timestamp())
                 AND p.lane <> ALL ($4::smallint[])
               ORDER BY p.handler_id, p.due_at
               LIMIT 1)
           OR EXISTS (
               SELECT FROM {schema}.parked_key p
               WHERE p.handler_id = h.id AND p.blocked AND p.needs > 0 AND p.needs <= h.reads
                 AND NOT p.suspect AND p.due_at <= (SELECT clock_timestamp()) AND p.lane <> ALL ($4::smallint[])
               ORDER BY p.handler_id, p.needs, p.due_at
               LIMIT 1)
           OR EXISTS (
               SELECT FROM {schema}.parked_key p
               WHERE p.handler_id = h.id AND p.blocked AND p.suspect AND p.needs <= h.reads
                 AND p.due_at <= (SELECT clock_timestamp()) AND p.lane <> ALL ($4::smallint[])
               ORDER BY p.handler_id, p.due_at
               LIMIT 1))
    RETURNING b.handler_id)
SELECT handler_id, true AS taken FROM taken
UNION ALL
SELECT h.id, false
FROM unnest($1::integer[]) AS h(id)
WHERE NOT EXISTS (SELECT FROM {schema}.breaker b WHERE b.handler_id = h.id AND b.opened_at IS NOT NULL)
