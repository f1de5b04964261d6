-- Notes, in the transaction that detaches a segment's table, that the table is to be dropped; no row comes back if another
-- process has done so. $1 lower.
UPDATE {schema}.log_segment SET dropping = true WHERE lower = $1 AND NOT dropping RETURNING true
