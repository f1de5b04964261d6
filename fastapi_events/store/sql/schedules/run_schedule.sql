-- Starts one run as a tick would, now, and moves nothing: it is no tick. $1 group, $2 the schedule's name, $3 the run's id,
-- $4 who asks for it. One row if there is such a schedule.
WITH found AS MATERIALIZED (
    SELECT nextval('{schema}.run_number') AS number, s.*
    FROM {schema}.schedule s
    WHERE s.group_id = $1 AND s.name = $2),
queued AS (
    INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state)
    SELECT $3, f.number, f.job_id, f.priority, 'r' FROM found f)
INSERT INTO {schema}.run (id, number, job_id, priority, source, source_ref, correlation_id, actor, scope, scope_id, input)
SELECT $3, f.number, f.job_id, f.priority, 'manual', f.name, $3, $4, f.scope, f.scope_id, f.input FROM found f
RETURNING id
