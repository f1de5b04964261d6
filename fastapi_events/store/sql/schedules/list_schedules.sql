-- Every schedule that the group has or had, and whether the process that declared it last is there no more. $1 group.
SELECT s.id, s.name, s.former_names, s.spec, s.tz, s.last_seen_at,
       NOT EXISTS (SELECT 1 FROM {schema}.worker w WHERE w.id = s.declared_by AND w.lease_until > clock_timestamp()) AS orphaned
FROM {schema}.schedule s
WHERE s.group_id = $1
ORDER BY s.id
