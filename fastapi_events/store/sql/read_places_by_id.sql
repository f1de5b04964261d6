-- Where an event is in the log. $1 id.
SELECT lane, partition, position FROM {schema}.event WHERE id = $1 ORDER BY position LIMIT 2
