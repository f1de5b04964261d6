-- Where the newest events are that have a delivery in a given state. Deliveries done in the end are passed over, so
-- only so many are looked at: the last row's position, whether or not its state is wanted, is where to go on.
-- $1 state, $2 handler and $3 group (null: any), $4 below this position, $5 deliveries to look at.
SELECT d.lane, d.partition, d.position, d.state = $1 AND ($2::text IS NULL OR h.name = $2) AND ($3::text IS NULL OR g.name = $3) AS wanted
FROM (SELECT q.lane, q.partition, q.position, q.state, q.handler_id
      FROM {schema}.delivery q
      WHERE q.position < $4
      ORDER BY q.position DESC
      LIMIT $5) d
JOIN {schema}.handler h ON h.id = d.handler_id
JOIN {schema}.consumer_group g ON g.id = h.group_id
ORDER BY d.position DESC
