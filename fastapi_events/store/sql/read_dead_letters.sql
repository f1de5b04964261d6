-- Dead letters, newest first. $1 and $2 the last one seen (time and id; null: from the newest), $3 rows at most,
-- $4 handler, $5 event name, $6 fingerprint, $7 group (null: any), $8 how many that wait behind it are counted,
-- $9 the tenants whose the reader may see (null: all).
SELECT d.id, d.event_id, d.event_name, d.position, d.tenant_id, d.slot, d.reason, d.note, d.attempts,
       d.redrives, d.error_type, d.error_message, d.fingerprint, d.published_at, d.created_at, d.changed_at,
       nullif(d.replay_id, '00000000-0000-0000-0000-000000000000') AS replay_id,
       h.name AS handler, g.name AS group_name,
       CASE WHEN h.ordered AND h.on_dead = 'park' THEN
           (SELECT count(*) FROM (SELECT FROM {schema}.delivery q
                                  WHERE q.handler_id = d.handler_id AND q.slot = d.slot AND q.state = 'waiting'
                                  LIMIT $8) w) ELSE 0 END AS behind
FROM {schema}.delivery d
JOIN {schema}.handler h ON h.id = d.handler_id
JOIN {schema}.consumer_group g ON g.id = h.group_id
WHERE d.state = 'dead'
  AND ($1::timestamptz IS NULL OR (d.changed_at, d.id) < ($1, $2::uuid))
  AND ($4::text IS NULL OR h.name = $4)
  AND ($5::text IS NULL OR d.event_name = $5)
  AND ($6::text IS NULL OR d.fingerprint = $6)
  AND ($7::text IS NULL OR g.name = $7)
  AND ($9::text[] IS NULL OR d.tenant_id = ANY ($9))
ORDER BY d.changed_at DESC, d.id DESC
LIMIT $3
