-- What a run has said before some line, the last first. $1 run, $2 the number of that line (null: the end), $3 the lowest level,
-- $4 lines at most.
SELECT l.number, l.said_at AS at, l.attempt, l.level, l.step, l.logger, l.message, l.fields::text AS fields, l.traceback
FROM {schema}.run_log l
WHERE l.run_id = $1 AND l.number < coalesce($2::bigint, 9223372036854775807) AND l.level >= $3::smallint
ORDER BY l.number DESC
LIMIT $4
