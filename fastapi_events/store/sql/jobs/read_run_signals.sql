-- Signals that a run has not taken yet, the first first. $1 run, $2 how many at most.
SELECT s.name, s.sent_at FROM {schema}.run_signal s WHERE s.run_id = $1 ORDER BY s.number LIMIT $2
