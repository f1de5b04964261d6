-- What an operator did, in the transaction that did it. $1 id, $2 action, $3 actor, $4 target, $5 details as JSON.
INSERT INTO {schema}.operator_action (id, action, actor, target, details) VALUES ($1, $2, $3, $4, $5::jsonb)
