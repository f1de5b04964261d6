-- Runs that an event has started, each by a trigger, the newest first. $1 the event, $2 below which number (null: from the newest),
-- $3 how many.
SELECT r.id, r.number AS place FROM {schema}.run r
WHERE r.event_id = $1 AND r.number < coalesce($2::bigint, 9223372036854775807)
ORDER BY r.number DESC
LIMIT $3
