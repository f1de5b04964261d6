-- Ids of dead deliveries that match, oldest first: what died until a moment, so that what dies meanwhile is left out.
-- $1 group, $2 handler, $3 event name, $4 fingerprint (each null: any), $5 changed before, $6 limit, $7 tenants (null: all).
SELECT d.id
FROM {schema}.delivery d
JOIN {schema}.handler h ON h.id = d.handler_id
WHERE d.state = 'dead' AND h.group_id = $1 AND d.changed_at <= $5
  AND ($2::text IS NULL OR h.name = $2) AND ($3::text IS NULL OR d.event_name = $3)
  AND ($4::text IS NULL OR d.fingerprint = $4) AND ($7::text[] IS NULL OR d.tenant_id = ANY ($7))
ORDER BY d.changed_at, d.id
LIMIT $6
