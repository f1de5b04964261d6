-- Seconds until the next run is due, or a lease is over, and until the next tick of the schedules that this process has; null if
-- there is none. late: whether one has been due already and is still there, because somebody has its row locked; what comes behind
-- it is not to wait for that. $1 look-back in seconds (null: everything), $2 schedules. One that was declared by a process that is there no
-- more is to be looked at now. Asked with runs, so that a process with nothing to do asks no more often for its schedules.
SELECT (SELECT extract(epoch FROM p.due_at - clock_timestamp())::float8
        FROM {schema}.run_queue p
        WHERE p.due_at IS NOT NULL AND p.due_at > n.now
        ORDER BY p.due_at
        LIMIT 1) AS seconds,
       (SELECT count(*) FROM (
            SELECT FROM {schema}.run_queue p
            WHERE p.due_at <= n.now AND p.due_at >= (SELECT coalesce(n.now - make_interval(secs => $1), '-infinity'))
            ORDER BY p.due_at
            LIMIT 1) one) > 0 AS late,
       (SELECT min(CASE
            WHEN NOT EXISTS (SELECT 1 FROM {schema}.worker w
                             WHERE w.id = s.declared_by AND w.lease_until > clock_timestamp()) THEN 0.0
            WHEN s.paused_at IS NULL THEN extract(epoch FROM s.next_at - clock_timestamp()) END)::float8
        FROM {schema}.schedule s
        WHERE s.id = ANY ($2::integer[])) AS tick_seconds
FROM (SELECT clock_timestamp() AS now OFFSET 0) n
