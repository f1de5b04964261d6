-- What each job has to do and how it goes, counted up to a bound: in the order of an index, so that nothing behind the bound
-- is read. $1 jobs, $2 the bound, $3 seconds for which a failure is a recent one, $4 the states in which the queue has what
-- waits and is not ready, $5 seconds for which a completion is a recent one. oldest_ready: when the one that is first in line by
-- its number was started.
SELECT j.id,
       (SELECT count(*) FROM (
            SELECT 1 FROM {schema}.run_queue q WHERE q.job_id = j.id AND q.state = 'r'
            ORDER BY q.job_id, q.state, q.number LIMIT $2) found) AS ready,
       (SELECT count(*) FROM (
            SELECT 1 FROM {schema}.run_queue q WHERE q.job_id = j.id AND q.state = 'x'
            ORDER BY q.job_id, q.state, q.number LIMIT $2) found) AS running,
       (SELECT least(sum(each.waiting), $2::bigint)::bigint FROM unnest($4::text[]) AS s(state)
        CROSS JOIN LATERAL (
            SELECT count(*) AS waiting FROM (
                SELECT 1 FROM {schema}.run_queue q WHERE q.job_id = j.id AND q.state = s.state::"char"
                ORDER BY q.job_id, q.state, q.number LIMIT $2) found) each) AS waiting,
       (SELECT least(sum(each.failed), $2::bigint)::bigint FROM unnest('{failed,timed_out}'::text[]) AS s(state)
        CROSS JOIN LATERAL (
            SELECT count(*) AS failed FROM (
                SELECT 1 FROM {schema}.run_end e
                WHERE e.job_id = j.id AND e.state = s.state
                  AND e.finished_at > (SELECT clock_timestamp() - make_interval(secs => $3))
                ORDER BY e.job_id DESC, e.state DESC, e.finished_at DESC LIMIT $2) found) each) AS failed,
       (SELECT count(*) FROM (
            SELECT 1 FROM {schema}.run_end e
            WHERE e.job_id = j.id AND e.state = 'completed'
              AND e.finished_at > (SELECT clock_timestamp() - make_interval(secs => $5))
            ORDER BY e.job_id DESC, e.state DESC, e.finished_at DESC LIMIT $2) found) AS completed,
       (SELECT count(*) FROM (
            SELECT 1 FROM {schema}.run_end e
            WHERE e.job_id = j.id AND e.state IN ('failed', 'timed_out') AND e.discarded_at IS NULL
            ORDER BY e.job_id DESC, e.finished_at DESC LIMIT $2) found) AS dead,
       (SELECT r.created_at FROM {schema}.run r WHERE r.id = (
            SELECT q.run_id FROM {schema}.run_queue q WHERE q.job_id = j.id AND q.state = 'r'
            ORDER BY q.job_id, q.state, q.number LIMIT 1)) AS oldest_ready
FROM unnest($1::integer[]) AS j(id)
