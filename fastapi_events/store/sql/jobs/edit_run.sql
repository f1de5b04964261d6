-- Gives a run another input, and keeps the one that it had. $1 run, $2 the input, $3 the action that does so. It is called where the
-- run has just been taken out of its end, so that nobody runs it.
WITH before AS MATERIALIZED (
    SELECT r.id, r.input FROM {schema}.run r WHERE r.id = $1 FOR NO KEY UPDATE),
kept AS (
    INSERT INTO {schema}.run_edit (action_id, run_id, input) SELECT $3, b.id, b.input FROM before b)
UPDATE {schema}.run r SET input = $2::text::jsonb FROM before b WHERE r.id = b.id
