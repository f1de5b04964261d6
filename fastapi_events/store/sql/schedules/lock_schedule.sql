-- A schedule as it is, which nobody changes until the caller's transaction ends, and the moment. $1 group, $2 its name.
SELECT s.id, s.spec, s.tz, s.next_at, s.paused_at, clock_timestamp() AS moment
FROM {schema}.schedule s
WHERE s.group_id = $1 AND s.name = $2
FOR NO KEY UPDATE
