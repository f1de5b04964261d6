-- Where these schedules are: what this process has declared, by their ids ($1). seconds: until the next tick, by this clock; of
-- one that is paused there is none. limited: its runs are bounded in some way. orphaned: the process that declared it last is there
-- no more.
SELECT s.id, s.name, s.spec, s.tz, s.missed, s.next_at, s.limits IS NOT NULL AS limited, clock_timestamp() AS moment,
       CASE WHEN s.paused_at IS NULL THEN extract(epoch FROM s.next_at - clock_timestamp())::float8 END AS seconds,
       NOT EXISTS (SELECT 1 FROM {schema}.worker w WHERE w.id = s.declared_by AND w.lease_until > clock_timestamp()) AS orphaned
FROM {schema}.schedule s
WHERE s.id = ANY ($1::integer[])
ORDER BY s.id
