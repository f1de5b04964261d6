-- What a run was given that follows from its input, and the input. $1 run.
SELECT r.input::text AS input, r.scope, r.scope_id FROM {schema}.run r WHERE r.id = $1
