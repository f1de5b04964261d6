-- Locks runs that are to end, with the runs that spawned them and their children that would be closed, in one order, that of the ids:
-- so does whoever may wait for some of them while it has others, and none of those waits for the other. A statement of its own: what follows
-- sees also the child that was just being spawned when this one began, and no other comes after it.
-- $1 ids, as the text of an array: the statement also runs in the transactions of applications, of whose planner nothing is assumed.
-- Children are asked for in the order of their index, so that no other is read from its beginning.
WITH kin AS MATERIALIZED (
    SELECT i.id FROM unnest($1::text::uuid[]) AS i(id)
    UNION
    SELECT q.parent_id FROM {schema}.run_queue q WHERE q.run_id = ANY ($1::text::uuid[])
    UNION
    (SELECT c.run_id FROM {schema}.run_queue c
     WHERE c.parent_id = ANY ($1::text::uuid[]) AND c.on_parent_close <> 'abandon'
       AND (c.cancel_reason IS NULL OR c.state::text = 'x')
     ORDER BY c.parent_id))
SELECT q.run_id FROM {schema}.run_queue q
WHERE q.run_id = ANY (ARRAY(SELECT k.id FROM kin k))
ORDER BY q.run_id
FOR UPDATE
