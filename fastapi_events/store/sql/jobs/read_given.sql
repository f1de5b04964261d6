-- What a run was given that follows from its input, and the input. window_key: what it stands for starts by until a time is over.
-- $1 run.
SELECT r.input::text AS input, r.scope, r.scope_id, r.limits ->> 'window_key' AS window_key, r.tenant_id
FROM {schema}.run r WHERE r.id = $1
