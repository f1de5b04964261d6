-- Records that a run spawns another one, durably, if it is still this worker's. $1 run, $2 token, $3 worker, $4 name and $5 number of
-- the step, $6 the child's job, $7 what is remembered of the child. Returns a row if it was recorded now.
-- It is news to a branch of the run that has looked at its children: one that is put down for those it knew would not be told of each.
WITH durably AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true)),
own AS (
    UPDATE {schema}.run_queue q SET children = q.children + 1, news = q.news + 1, has_family = true
    FROM durably
    WHERE q.run_id = $1 AND q.token = $2 AND q.worker_id = $3 AND q.state::text = 'x'
    RETURNING q.run_id)
INSERT INTO {schema}.run_step (run_id, name, number, kind, state, source, result)
SELECT o.run_id, $4, $5, 'spawn', 'done', $6, $7::jsonb FROM own o
RETURNING run_id
