-- Per handler: how many deliveries wait, since when and why, and how many are dead. Counted up to a bound: $2 waiting ones
-- of each handler, the $2 newest dead ones of all. $1 handlers, $3 tenants (null: all).
SELECT h.id AS handler_id, w.waiting, w.oldest_waiting, w.reasons, coalesce(d.dead, 0) AS dead, d.newest_dead
FROM unnest($1::integer[]) AS h(id)
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting, min(q.published_at) AS oldest_waiting,
           coalesce(array_agg(DISTINCT q.reason), '{}') AS reasons
    FROM (SELECT r.published_at, r.reason FROM {schema}.delivery r
          WHERE r.handler_id = h.id AND r.state = 'waiting'
            AND ($3::text[] IS NULL OR r.tenant_id = ANY ($3))
          LIMIT $2) q) w
LEFT JOIN (
    SELECT n.handler_id, count(*) AS dead, max(n.changed_at) AS newest_dead
    FROM (SELECT x.handler_id, x.changed_at FROM {schema}.delivery x
          WHERE x.state = 'dead' AND ($3::text[] IS NULL OR x.tenant_id = ANY ($3))
          ORDER BY x.changed_at DESC, x.id DESC
          LIMIT $2) n
    GROUP BY n.handler_id) d ON d.handler_id = h.id
