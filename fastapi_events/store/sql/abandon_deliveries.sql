-- Gives up what waits for the handlers of groups that an operator has removed, and the keys that it parked.
-- $1 rows of each handler.
WITH gone AS MATERIALIZED (
    SELECT h.id FROM {schema}.handler h JOIN {schema}.consumer_group g ON g.id = h.group_id
    WHERE g.removed_at IS NOT NULL),
-- Those whose head needs a newer version of its event, or is run alone, have indexes of their own.
keys AS (
    DELETE FROM {schema}.parked_key
    WHERE ctid = ANY (ARRAY(
        SELECT p.ctid FROM gone
        CROSS JOIN LATERAL (
            SELECT k.ctid FROM {schema}.parked_key k
            WHERE k.handler_id = gone.id AND k.blocked AND k.needs = 0 AND NOT k.suspect
            ORDER BY k.handler_id, k.due_at
            LIMIT $1 FOR UPDATE SKIP LOCKED) p) || ARRAY(
        SELECT p.ctid FROM gone
        CROSS JOIN LATERAL (
            SELECT k.ctid FROM {schema}.parked_key k
            WHERE k.handler_id = gone.id AND k.blocked AND k.needs > 0 AND NOT k.suspect
            ORDER BY k.handler_id, k.needs, k.due_at
            LIMIT $1 FOR UPDATE SKIP LOCKED) p) || ARRAY(
        SELECT p.ctid FROM gone
        CROSS JOIN LATERAL (
            SELECT k.ctid FROM {schema}.parked_key k
            WHERE k.handler_id = gone.id AND k.blocked AND k.suspect
            ORDER BY k.handler_id, k.due_at
            LIMIT $1 FOR UPDATE SKIP LOCKED) p))),
waiting AS (
    UPDATE {schema}.delivery
    SET state = 'discarded', holds = false, note = 'its group was removed', changed_at = clock_timestamp()
    WHERE ctid = ANY (ARRAY(
        SELECT q.ctid FROM gone
        CROSS JOIN LATERAL (
            SELECT d.ctid FROM {schema}.delivery d
            WHERE d.handler_id = gone.id AND d.state = 'waiting'
            ORDER BY d.handler_id, d.slot, d.position
            LIMIT $1 FOR UPDATE SKIP LOCKED) q))
    RETURNING 1),
held AS (
    UPDATE {schema}.delivery
    SET state = 'discarded', holds = false, note = 'its group was removed', changed_at = clock_timestamp()
    WHERE ctid = ANY (ARRAY(
        SELECT q.ctid FROM gone
        CROSS JOIN LATERAL (
            SELECT d.ctid FROM {schema}.delivery d
            WHERE d.handler_id = gone.id AND d.state = 'dead' AND d.holds
            ORDER BY d.handler_id, d.slot, d.position
            LIMIT $1 FOR UPDATE SKIP LOCKED) q))
    RETURNING 1)
SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM held) AS given_up
