-- The group's number, if a process of it has ever started. $1 name.
SELECT id FROM {schema}.consumer_group WHERE name = $1
