-- The newest dead letters, grouped by handler and cause. $1 dead letters to look at, $2 groups at most,
-- $3 consumer group (null: any), $4 tenants (null: all).
SELECT h.name AS handler, g.name AS group_name, s.fingerprint,
       (array_agg(s.error_type ORDER BY s.changed_at DESC))[1] AS error_type,
       (array_agg(left(s.error_message, 500) ORDER BY s.changed_at DESC))[1] AS error_message,
       (array_agg(s.reason ORDER BY s.changed_at DESC))[1] AS reason,
       count(*) AS dead, count(DISTINCT s.event_name) AS names, min(s.event_name) AS event_name,
       min(s.changed_at) AS first_at, max(s.changed_at) AS last_at
FROM (SELECT d.handler_id, d.fingerprint, d.error_type, d.error_message, d.reason, d.event_name, d.changed_at
      FROM {schema}.delivery d
      WHERE d.state = 'dead' AND ($4::text[] IS NULL OR d.tenant_id = ANY ($4))
      ORDER BY d.changed_at DESC, d.id DESC
      LIMIT $1) s
JOIN {schema}.handler h ON h.id = s.handler_id
JOIN {schema}.consumer_group g ON g.id = h.group_id
WHERE $3::text IS NULL OR g.name = $3
GROUP BY g.name, h.name, s.fingerprint
ORDER BY count(*) DESC, max(s.changed_at) DESC
LIMIT $2
