-- Starts runs that are due at once and have nothing but an input, a priority and a conversation: columns are an array each,
-- which PostgreSQL reads several times as fast as JSON. $1 ids, $2 jobs, $3 priorities, $4 conversations, $5 inputs.
WITH given AS MATERIALIZED (
    SELECT nextval('{schema}.run_number') AS number, r.*
    FROM unnest($1::uuid[], $2::integer[], $3::smallint[], $4::uuid[], $5::text[])
        AS r(id, job_id, priority, correlation_id, input)),
queued AS (
    INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state)
    SELECT g.id, g.number, g.job_id, g.priority, 'r' FROM given g)
INSERT INTO {schema}.run (id, number, job_id, priority, correlation_id, input)
SELECT g.id, g.number, g.job_id, g.priority, g.correlation_id, g.input::jsonb FROM given g
