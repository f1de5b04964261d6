-- Locks the ends of runs that are to begin anew, and says by what those are bounded. $1 ids, $2 whether those that succeeded are
-- meant too. In one order, that of the ids.
SELECT e.run_id, r.job_id, r.number, l.limit_key, l.slots, l.exclusive, l.dedupe_key, l.until_started
FROM {schema}.run_end e
JOIN {schema}.run r ON r.id = e.run_id
LEFT JOIN LATERAL jsonb_to_record(r.limits)
    AS l(limit_key text, slots integer, exclusive boolean, dedupe_key text, until_started boolean) ON r.limits IS NOT NULL
WHERE e.run_id = ANY ($1::uuid[]) AND r.id = ANY ($1::uuid[]) AND (e.state <> 'completed' OR $2::boolean)
ORDER BY e.run_id
FOR UPDATE OF e
