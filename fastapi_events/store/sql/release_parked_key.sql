-- Makes a parked key due at once, whoever parked it. $1 handler, $2 slot.
UPDATE {schema}.parked_key SET due_at = clock_timestamp(), version = version + 1 WHERE slot = $2 AND handler_id = $1
