-- The newest recorded attempts at a run, in their order. $1 run, $2 how many at most.
SELECT a.* FROM (
    SELECT a.number, a.outcome, a.error_type, a.error_message, a.traceback, a.worker_id, a.duration, a.finished_at
    FROM {schema}.run_attempt a WHERE a.run_id = $1
    ORDER BY a.run_id DESC, a.finished_at DESC
    LIMIT $2) a
ORDER BY a.finished_at
