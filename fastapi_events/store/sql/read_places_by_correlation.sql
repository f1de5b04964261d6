-- Where the newest events of a conversation are in the log. $1 correlation, $2 below this position, $3 rows at most.
SELECT lane, partition, position FROM {schema}.event
WHERE correlation_id = $1 AND position < $2
ORDER BY position DESC LIMIT $3
