-- Forgets a segment whose table has been dropped. $1 lower.
DELETE FROM {schema}.log_segment WHERE lower = $1 AND dropping
