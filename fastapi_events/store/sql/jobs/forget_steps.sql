-- Forgets what runs have recorded, from some place on. $1 runs, which nobody has at work, $2 the place. scratch: everything;
-- last_step: the last step that was done, and what came after; last_checkpoint: what came after the last checkpoint,
-- everything if there is none.
WITH places AS MATERIALIZED (
    SELECT i.run_id,
           CASE $2::text
               WHEN 'last_step' THEN (
                   SELECT max(s.number) FROM {schema}.run_step s
                   WHERE s.run_id = i.run_id AND s.kind = 'step' AND s.state = 'done')
               WHEN 'last_checkpoint' THEN (
                   SELECT coalesce(max(s.number), -1) + 1 FROM {schema}.run_step s
                   WHERE s.run_id = i.run_id AND s.kind = 'checkpoint' AND s.state = 'done')
               WHEN 'scratch' THEN 0 END AS number
    FROM unnest($1::uuid[]) AS i(run_id)),
progress AS (
    DELETE FROM {schema}.run_progress g USING places p WHERE g.run_id = p.run_id AND $2::text = 'scratch')
DELETE FROM {schema}.run_step s USING places p WHERE s.run_id = p.run_id AND s.number >= p.number
