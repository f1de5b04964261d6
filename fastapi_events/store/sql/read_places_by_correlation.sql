-- Where the newest events of a conversation are in the log: its first event, whose id is the conversation's, and those
-- that came of it. $1 correlation, $2 below this position, $3 rows at most.
SELECT lane, partition, position FROM (
    SELECT lane, partition, position FROM {schema}.event WHERE id = $1 AND correlation_id = $1
    UNION ALL
    SELECT lane, partition, position FROM {schema}.event WHERE correlation_id = $1 AND correlation_id <> id) AS e
WHERE position < $2
ORDER BY position DESC LIMIT $3
