-- What a replay that starts now is of: a handler, where its group's cursors are, and how far the log goes.
-- $1 group, $2 handler's name, or one that it had, $3 lanes. Positions above last_position are of later transactions, or of
-- ones that no snapshot here shows.
SELECT h.id AS handler_id, h.name, h.selects, h.started_after::text AS started_after, h.retired_at, c.lane, c.partition,
       c.seen::text AS seen, c.target::text AS target, c.position,
       coalesce(pg_sequence_last_value('{schema}.event_position'::regclass), 0) AS last_position,
       (SELECT min(s.lower) FROM {schema}.log_segment s WHERE NOT s.dropping) AS first_position,
       (SELECT count(*) FROM {schema}.worker w
        WHERE w.group_id = h.group_id AND w.lease_until > clock_timestamp() AND w.drains AND h.id = ANY (w.handlers))
           AS processes
FROM (SELECT k.* FROM {schema}.handler k
      WHERE k.group_id = $1 AND (k.name = $2 OR $2 = ANY (k.former_names))
      ORDER BY k.name = $2 DESC LIMIT 1) h
CROSS JOIN {schema}.installation i
CROSS JOIN unnest($3::smallint[]) AS l(lane)
CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS p(number)
CROSS JOIN LATERAL (
    SELECT n.lane, n.partition, n.seen, n.target, n.position FROM {schema}.cursor_log n
    WHERE n.group_id = $1 AND n.lane = l.lane AND n.partition = p.number::smallint
    ORDER BY n.group_id DESC, n.lane DESC, n.partition DESC, n.seq DESC
    LIMIT 1) c
ORDER BY c.lane, c.partition
