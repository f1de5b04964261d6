-- How children of a run stand, and the news that it has had up to this moment; gone: one that retention has removed, of which no
-- news will ever come. $1 run, $2 its children.
SELECT (SELECT q.news FROM {schema}.run_queue q WHERE q.run_id = $1) AS news, c.id, e.state, e.result::text AS result,
       coalesce(coalesce(e.error_type || ': ', '') || e.error_message, e.note, e.reason) AS problem,
       (SELECT count(*) FROM (SELECT FROM {schema}.run r WHERE r.id = c.id LIMIT 1) kept) = 0 AS gone
FROM unnest($2::uuid[]) WITH ORDINALITY AS c(id, place)
LEFT JOIN LATERAL (
    SELECT n.state, n.result, n.error_type, n.error_message, n.note, n.reason FROM {schema}.run_end n WHERE n.run_id = c.id LIMIT 1) e ON true
ORDER BY c.place
