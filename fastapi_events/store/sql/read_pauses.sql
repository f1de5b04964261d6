-- The lanes that are paused for a group. $1 group.
SELECT paused_lanes FROM {schema}.consumer_group WHERE id = $1
