-- Ends the replays of which every share is at its end. $1 handlers.
UPDATE {schema}.replay r
SET state = 'done', finished_at = clock_timestamp(), changed_at = clock_timestamp()
WHERE r.handler_id = ANY ($1::integer[]) AND r.state IN ('running', 'paused') AND r.state = 'running'
  AND (SELECT s.lane FROM {schema}.replay_share s WHERE s.replay_id = r.id AND NOT s.finished LIMIT 1) IS NULL
RETURNING r.id
