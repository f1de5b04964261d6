-- The segments of the log, lowest first. over: nobody alive can write to it any more, for it is full and every
-- transaction that was in progress when it was sealed has ended.
SELECT s.lower, s.upper, s.dropping,
       coalesce(s.sealed_before <= pg_snapshot_xmin(pg_current_snapshot()), false) AS over
FROM {schema}.log_segment s
ORDER BY s.lower
