-- A live process has these schedules ($1); said once an hour by one of the processes.
UPDATE {schema}.schedule SET last_seen_at = clock_timestamp()
WHERE id = ANY ($1::integer[]) AND last_seen_at < clock_timestamp() - interval '30 minutes'
