-- The group's handlers. $1 group.
SELECT id, name, former_names, selects, ordered, on_dead, started_after::text AS started_after, revision,
       retired_at IS NOT NULL AS retired
FROM {schema}.handler WHERE group_id = $1
