-- Where the log begins and ends, as positions, and what the readings need to know of the installation. The sequence's
-- last value is an upper bound that costs nothing; rows are never counted.
SELECT coalesce((SELECT min(s.lower) FROM {schema}.log_segment s WHERE NOT s.dropping), 0) AS first_position,
       coalesce(pg_sequence_last_value('{schema}.event_position'::regclass), 0) AS last_position,
       i.partitions, clock_timestamp() AS moment
FROM {schema}.installation i
