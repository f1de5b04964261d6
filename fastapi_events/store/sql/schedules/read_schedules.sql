-- The schedules, and how each stands. $1 group (null: every group), $2 schedules at most, $3 seconds after which a tick that
-- has not come is overdue, $4 seconds after which one that no process has had is retired.
SELECT s.id, s.name, g.name AS group_name, j.name AS job, s.spec, s.tz, s.missed, s.next_at,
       s.last_tick_at, s.last_run_id, s.last_note, s.registered_at, s.last_seen_at, s.paused_at,
       CASE WHEN s.last_seen_at < clock_timestamp() - make_interval(secs => $4::float8) THEN 'retired'
            WHEN s.paused_at IS NOT NULL THEN 'paused'
            WHEN s.next_at < clock_timestamp() - make_interval(secs => $3::float8) THEN 'overdue'
            ELSE 'ticking' END AS status
FROM {schema}.schedule s
JOIN {schema}.job j ON j.id = s.job_id
JOIN {schema}.consumer_group g ON g.id = s.group_id
WHERE $1::text IS NULL OR g.name = $1
ORDER BY g.name, s.name
LIMIT $2
