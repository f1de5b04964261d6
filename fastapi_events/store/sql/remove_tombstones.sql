-- Takes away the marks of dead events that stand for none any more, in the transaction of the redrive. $1 ids.
-- One index look-up for each delivery: LIMIT keeps the planner from beginning with the marks.
DELETE FROM {schema}.processing_mark
WHERE ctid = ANY (ARRAY(
    SELECT found.ctid
    FROM {schema}.delivery d
    CROSS JOIN LATERAL (
        SELECT m.ctid FROM {schema}.processing_mark m
        WHERE m.handler_id = d.handler_id AND m.key = d.tombstone
          AND m.replay_id = d.replay_id AND m.outcome = 'x' AND m.dead_positions = '{}'
        LIMIT 1
        FOR UPDATE) found
    WHERE d.id = ANY ($1::uuid[])))
