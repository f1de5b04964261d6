-- Forgets ids that publishers gave long ago, from some pages of their table. $1 first page, $2 page after the last,
-- $3 age in seconds.
DELETE FROM {schema}.event_key k
WHERE k.ctid >= format('(%s,0)', $1::bigint)::tid AND k.ctid < format('(%s,0)', $2::bigint)::tid
  AND k.created_at < clock_timestamp() - make_interval(secs => $3)
