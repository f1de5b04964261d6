-- One process at a time says which handlers the group has. $1 group.
SELECT id FROM {schema}.consumer_group WHERE id = $1 FOR NO KEY UPDATE
