-- Takes away the marks of dead events that stand for none any more, in the transaction of the redrive. $1 ids.
DELETE FROM {schema}.processing_mark m
WHERE m.handler_id = ANY (ARRAY(SELECT d.handler_id FROM {schema}.delivery d WHERE d.id = ANY ($1::uuid[])))
  AND m.key = ANY (ARRAY(SELECT d.tombstone FROM {schema}.delivery d WHERE d.id = ANY ($1::uuid[])))
  AND m.replay_id = '00000000-0000-0000-0000-000000000000' AND m.outcome = 'x' AND m.dead_positions = '{}'
