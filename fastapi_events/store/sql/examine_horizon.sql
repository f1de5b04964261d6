-- What keeps the server from cleaning up, and segments of the log from being sealed: old transactions, prepared ones, and
-- replication slots. $1 seconds from which on a transaction is old, $2 the same for slots, in transactions. Of other
-- roles' transactions only a superuser and a member of pg_read_all_stats see the age.
SELECT 'transaction' AS kind, coalesce(nullif(a.application_name, ''), 'a client') || ', pid ' || a.pid AS name,
       extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS age
FROM pg_stat_activity a
WHERE a.backend_type = 'client backend' AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
  AND a.pid <> pg_backend_pid() AND a.xact_start < clock_timestamp() - make_interval(secs => $1)
UNION ALL
SELECT 'prepared', p.gid, extract(epoch FROM clock_timestamp() - p.prepared)::bigint
FROM pg_prepared_xacts p
WHERE p.prepared < clock_timestamp() - make_interval(secs => $1)
UNION ALL
SELECT CASE WHEN s.active THEN 'slot' ELSE 'idle slot' END, s.slot_name::text,
       greatest(coalesce(age(s.xmin), 0), coalesce(age(s.catalog_xmin), 0))::bigint
FROM pg_replication_slots s
WHERE greatest(coalesce(age(s.xmin), 0), coalesce(age(s.catalog_xmin), 0)) > $2::bigint
ORDER BY 1, 3 DESC
LIMIT 20
