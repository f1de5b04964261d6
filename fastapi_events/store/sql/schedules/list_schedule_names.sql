-- The names of the group's schedules. $1 group.
SELECT s.name FROM {schema}.schedule s WHERE s.group_id = $1 ORDER BY s.name
