-- Where the newest events of one aggregate are in the log. $1 aggregate, $2 its id, $3 below this position, $4 rows.
SELECT lane, partition, position FROM {schema}.event
WHERE aggregate = $1 AND aggregate_id = $2 AND position < $3
ORDER BY aggregate DESC, aggregate_id DESC, position DESC LIMIT $4
