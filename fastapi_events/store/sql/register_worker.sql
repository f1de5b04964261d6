-- This process, alive from now on; no row comes back if an operator has removed its group. $1 id, $2 group, $3 host,
-- $4 pid, $5 drains, $6 release, $7 handlers, $8 connections, $9 lease in seconds, $10 how it is woken, $11 the lanes it
-- drains, $12 its broadcast handlers, a JSON array of {name, selects, audit}, $13 the jobs that it runs, $14 how many at once,
-- a JSON object by pool.
INSERT INTO {schema}.worker (id, group_id, host, pid, drains, release, handlers, connections, lease_until, wake_up,
                             lanes, broadcasts, jobs, pools)
SELECT $1::uuid, g.id, $3::text, $4::integer, $5::boolean, $6::text, $7::integer[], $8::smallint,
       clock_timestamp() + make_interval(secs => $9), $10::text, $11::smallint[], $12::text::jsonb,
       $13::integer[], $14::text::jsonb
FROM {schema}.consumer_group g
WHERE g.id = $2 AND g.removed_at IS NULL
FOR KEY SHARE OF g
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until, handlers = excluded.handlers, wake_up = excluded.wake_up,
    jobs = excluded.jobs, pools = excluded.pools
RETURNING id
