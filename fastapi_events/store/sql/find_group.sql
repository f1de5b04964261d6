-- The group's number, if a process of it has ever started and it has not been removed. $1 name.
SELECT id FROM {schema}.consumer_group WHERE name = $1 AND removed_at IS NULL
