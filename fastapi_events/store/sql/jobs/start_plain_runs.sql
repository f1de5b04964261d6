-- Starts runs that are due at once and have nothing but an input, a priority and a conversation: columns are an array each,
-- which PostgreSQL reads several times as fast as JSON. $1 ids, $2 jobs, $3 priorities, $4 conversations, $5 inputs. Of jobs and
-- priorities one will do where it is everybody's, and a run that is not given a conversation begins its own.
WITH given AS MATERIALIZED (
    SELECT nextval('{schema}.run_number') AS number, r.id, coalesce(r.job_id, ($2::integer[])[1]) AS job_id,
           coalesce(r.priority, ($3::smallint[])[1]) AS priority, coalesce(r.correlation_id, r.id) AS correlation_id, r.input
    FROM unnest($1::uuid[], $2::integer[], $3::smallint[], $4::uuid[], $5::text[])
        AS r(id, job_id, priority, correlation_id, input)),
queued AS (
    INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state)
    SELECT g.id, g.number, g.job_id, g.priority, 'r' FROM given g)
INSERT INTO {schema}.run (id, number, job_id, priority, correlation_id, input)
SELECT g.id, g.number, g.job_id, g.priority, g.correlation_id, g.input::jsonb FROM given g
