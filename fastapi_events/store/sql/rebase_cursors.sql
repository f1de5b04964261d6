-- Every place begins anew at this transaction's snapshot, in which the transaction itself, and with it all that is
-- unhandled, is still in progress.
INSERT INTO {schema}.cursor_log (group_id, lane, partition, seq, seen)
SELECT group_id, lane, partition, max(seq) + 1, pg_current_snapshot() FROM {schema}.cursor_log GROUP BY 1, 2, 3
