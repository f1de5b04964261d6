-- Every name that a handler of the group has or had, whether or not it is retired. $1 group.
SELECT id, name, former_names FROM {schema}.handler WHERE group_id = $1 ORDER BY id
