-- Locks the relatives of runs that the caller has locked and is to end: those that spawned them, and their children that would be
-- closed. Nobody is waited for: returns the runs of which no relative is locked by somebody else. $1 ids.
-- The children are those that close_families finds. Who has no parent is not left out by name: the planner would walk all that have one.
WITH kin AS MATERIALIZED (
    SELECT q.run_id AS own, q.parent_id AS id FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($1::uuid[])
    UNION ALL
    (SELECT c.parent_id, c.run_id FROM {schema}.run_queue c
     WHERE c.parent_id = ANY (ARRAY(SELECT f.run_id FROM {schema}.run_queue f WHERE f.run_id = ANY ($1::uuid[]) AND f.has_family))
       AND c.on_parent_close <> 'abandon' AND (c.cancel_reason IS NULL OR c.state::text = 'x')
     ORDER BY c.parent_id)),
locked AS MATERIALIZED (
    SELECT q.run_id FROM {schema}.run_queue q
    WHERE q.run_id = ANY (ARRAY(SELECT k.id FROM kin k))
    ORDER BY q.run_id
    FOR UPDATE SKIP LOCKED),
busy AS MATERIALIZED (
    SELECT q.run_id FROM {schema}.run_queue q
    WHERE q.run_id = ANY (ARRAY(SELECT k.id FROM kin k)) AND (q.run_id IN (SELECT l.run_id FROM locked l)) IS NOT TRUE),
held_up AS MATERIALIZED (SELECT k.own FROM kin k WHERE (k.id IN (SELECT b.run_id FROM busy b)) IS TRUE)
SELECT i.id AS run_id FROM unnest($1::uuid[]) AS i(id) WHERE (i.id IN (SELECT h.own FROM held_up h)) IS NOT TRUE
