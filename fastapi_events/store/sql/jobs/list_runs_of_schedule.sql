-- Runs that schedules' ticks have started, the last tick first. $1 schedules, $2 before which tick (null: from the last), $3 how many,
-- $4 of those of that tick, below which run (null: none of them).
SELECT found.id, found.scheduled_for AS place
FROM unnest($1::integer[]) AS s(id)
CROSS JOIN LATERAL (
    SELECT r.id, r.scheduled_for FROM {schema}.run r
    WHERE r.schedule_id = s.id
      AND (r.scheduled_for, r.id) < (coalesce($2::timestamptz, 'infinity'),
                                     coalesce($4::uuid, '00000000-0000-0000-0000-000000000000'))
    ORDER BY r.schedule_id DESC, r.scheduled_for DESC
    LIMIT $3) found
ORDER BY found.scheduled_for DESC, found.id DESC
LIMIT $3
