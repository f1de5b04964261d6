-- Gives a run another input, and what follows from it, and keeps the input that it had. $1 run, $2 the input, $3 the action that does
-- so, $4 type and $5 id of what it belongs to, $6 what bounds it (null: nothing). It is called under the lock of the run's end, so
-- that nobody runs it.
WITH before AS MATERIALIZED (
    SELECT r.id, r.input FROM {schema}.run r WHERE r.id = $1 FOR NO KEY UPDATE),
kept AS (
    INSERT INTO {schema}.run_edit (action_id, run_id, input) SELECT $3, b.id, b.input FROM before b)
UPDATE {schema}.run r SET input = $2::text::jsonb, scope = $4, scope_id = $5, limits = $6::text::jsonb
FROM before b WHERE r.id = b.id
