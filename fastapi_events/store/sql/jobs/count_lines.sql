-- How many lines of each run are kept already, counted up to a bound. $1 ids, $2 the bound.
SELECT g.run_id, (SELECT count(*) FROM (SELECT FROM {schema}.run_log l WHERE l.run_id = g.run_id LIMIT $2) counted)::integer AS lines
FROM unnest($1::uuid[]) AS g(run_id)
