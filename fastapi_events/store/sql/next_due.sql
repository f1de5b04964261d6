-- Seconds until the next parked key of these handlers is due, and until the next that is run alone; null if none is. $1
-- handlers, $2 look-back in seconds, $3 lanes that are paused, $4 for each handler the newest version of its event that
-- this process reads. A key that needs a version is due at once or being worked on, so there are few behind those that
-- the claim has just taken.
SELECT extract(epoch FROM min(due.due_at) FILTER (WHERE NOT due.suspect) - clock_timestamp())::float8 AS seconds,
       extract(epoch FROM min(due.due_at) FILTER (WHERE due.suspect) - clock_timestamp())::float8 AS suspect_seconds
FROM unnest($1::integer[], $4::integer[]) AS h(id, reads)
CROSS JOIN LATERAL (
    SELECT usual.due_at, false AS suspect
    FROM (SELECT p.due_at FROM {schema}.parked_key p
          WHERE p.handler_id = h.id AND p.blocked AND p.needs = 0 AND NOT p.suspect AND p.due_at < 'infinity'
            AND p.lane <> ALL ($3::smallint[])
            AND p.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $2), '-infinity'))
          ORDER BY p.handler_id, p.due_at
          LIMIT 1) usual
    UNION ALL
    SELECT newer.due_at, false
    FROM (SELECT p.due_at FROM {schema}.parked_key p
          WHERE p.handler_id = h.id AND p.blocked AND p.needs > 0 AND p.needs <= h.reads AND NOT p.suspect
            AND p.due_at < 'infinity'
            AND p.lane <> ALL ($3::smallint[])
            AND p.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $2), '-infinity'))
          ORDER BY p.handler_id, p.needs, p.due_at
          LIMIT 50) newer
    UNION ALL
    SELECT alone.due_at, true
    FROM (SELECT p.due_at FROM {schema}.parked_key p
          WHERE p.handler_id = h.id AND p.blocked AND p.suspect AND p.needs <= h.reads AND p.due_at < 'infinity'
            AND p.lane <> ALL ($3::smallint[])
          ORDER BY p.handler_id, p.due_at
          LIMIT 1) alone) due
