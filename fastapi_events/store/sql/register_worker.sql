-- This process, alive from now on. $1 id, $2 group, $3 host, $4 pid, $5 drains, $6 release, $7 handlers,
-- $8 connections, $9 lease in seconds, $10 how it is woken, $11 the lanes it drains, $12 its broadcast handlers, a JSON
-- array of {name, selects, audit}.
INSERT INTO {schema}.worker (id, group_id, host, pid, drains, release, handlers, connections, lease_until, wake_up,
                             lanes, broadcasts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + make_interval(secs => $9), $10, $11, $12::text::jsonb)
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until, handlers = excluded.handlers, wake_up = excluded.wake_up
