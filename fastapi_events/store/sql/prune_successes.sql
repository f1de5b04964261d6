-- Removes old success records from some pages of their table. $1 first page, $2 page after the last, $3 age in seconds.
DELETE FROM {schema}.success_batch s
WHERE s.ctid >= format('(%s,0)', $1::bigint)::tid AND s.ctid < format('(%s,0)', $2::bigint)::tid
  AND s.finished_at < clock_timestamp() - make_interval(secs => $3)
