-- Runs of jobs that nobody moves on: their time has come, or the lease of whoever ran them is over, for longer than $2 seconds.
-- Looked for among what is due, the first first, $3 at most. $1 jobs.
SELECT late.job_id, late.state = 'x' AS at_work, count(*) AS runs, min(late.due_at) AS since
FROM (SELECT q.job_id, q.state, q.due_at FROM {schema}.run_queue q
      WHERE q.due_at < (SELECT clock_timestamp() - make_interval(secs => $2))
      ORDER BY q.due_at
      LIMIT $3) late
WHERE late.job_id = ANY ($1::integer[])
GROUP BY late.job_id, late.state = 'x'
ORDER BY late.job_id, at_work
