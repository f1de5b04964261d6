-- For every handler: when the oldest event that waits for it or is dead was published ('-infinity' if there are more
-- than $1, null if there is none), and its group. $1 deliveries of each kind to look at.
WITH dead AS MATERIALIZED (
    SELECT d.handler_id, d.published_at FROM {schema}.delivery d
    WHERE d.state = 'dead'
    ORDER BY d.changed_at, d.id
    LIMIT $1)
SELECT h.id, g.name AS group_name,
       CASE WHEN w.n >= $1 OR (SELECT count(*) FROM dead) >= $1 THEN '-infinity'::timestamptz
            ELSE least(w.oldest, (SELECT min(x.published_at) FROM dead x WHERE x.handler_id = h.id)) END AS oldest
FROM {schema}.handler h
JOIN {schema}.consumer_group g ON g.id = h.group_id
CROSS JOIN LATERAL (
    SELECT count(*) AS n, min(q.published_at) AS oldest
    FROM (SELECT d.published_at FROM {schema}.delivery d
          WHERE d.handler_id = h.id AND d.state = 'waiting'
          LIMIT $1) q) w
