-- Forgets ids that publishers gave long ago, from some pages of their table. $1 first page, $2 page after the last,
-- $3 age in seconds. The id of an event that is still scheduled is kept, however long it is overdue: its key has no
-- position yet, and one probe tells it from one that was cancelled.
DELETE FROM {schema}.event_key k
WHERE k.ctid >= format('(%s,0)', $1::bigint)::tid AND k.ctid < format('(%s,0)', $2::bigint)::tid
  AND k.created_at < clock_timestamp() - make_interval(secs => $3)
  AND (k.position IS NOT NULL
       OR (SELECT s.id FROM {schema}.scheduled_event s WHERE s.id = k.event_id ORDER BY s.id LIMIT 1) IS NULL)
