-- What an operator did and whom it concerned, in the transaction that did it. $1 id, $2 action, $3 actor, $4 target,
-- $5 details as JSON, $6 the tenants; the empty text stands for what belongs to no tenant.
INSERT INTO {schema}.operator_action (id, action, actor, target, details, tenants)
VALUES ($1, $2, $3, $4, $5::jsonb, $6)
