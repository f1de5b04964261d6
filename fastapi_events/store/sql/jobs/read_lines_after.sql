-- What a run has said, from some line on, in its order. $1 run, $2 the number of the last line seen (null: none), $3 the lowest
-- level, $4 lines at most.
SELECT l.number, l.said_at AS at, l.attempt, l.level, l.step, l.logger, l.message, l.fields::text AS fields, l.traceback
FROM {schema}.run_log l
WHERE l.run_id = $1 AND l.number > coalesce($2::bigint, 0) AND l.level >= $3::smallint
ORDER BY l.number
LIMIT $4
