-- Seals the segments below a position that was read before this statement began: whoever drew a position in them had
-- its transaction id by then, so it is below this snapshot's xmax. $1 position.
UPDATE {schema}.log_segment SET sealed_before = pg_snapshot_xmax(pg_current_snapshot())
WHERE sealed_before IS NULL AND upper <= $1
