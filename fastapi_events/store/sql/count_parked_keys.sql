-- Keys that a dead delivery keeps waiting, and the handlers they wait for. $1 group, $2 keys of each handler at most.
SELECT h.name, held.keys
FROM {schema}.handler h
JOIN {schema}.consumer_group g ON g.id = h.group_id
CROSS JOIN LATERAL (
    -- A key behind a dead head needs no version, and is not run alone. Ordered, so that only the index on just that will do.
    SELECT count(*) AS keys
    FROM (SELECT 1 FROM {schema}.parked_key k
          WHERE k.handler_id = h.id AND k.blocked AND k.needs = 0 AND NOT k.suspect AND k.due_at = 'infinity'
          ORDER BY k.handler_id, k.due_at
          LIMIT $2) k) held
WHERE g.name = $1 AND held.keys > 0
ORDER BY held.keys DESC, h.name
