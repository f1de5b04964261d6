-- Every job that the group has or had. $1 group.
SELECT id, name, former_names, pool, paused_at IS NOT NULL AS paused, revision
FROM {schema}.job WHERE group_id = $1 ORDER BY id
