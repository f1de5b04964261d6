-- A place at the end of the log: everything visible now has been seen, and so far have positions been drawn.
SELECT pg_current_snapshot()::text AS snapshot,
       coalesce(pg_sequence_last_value('{schema}.event_position'::regclass), 0) AS last_position
