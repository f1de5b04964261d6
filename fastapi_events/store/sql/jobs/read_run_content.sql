-- What a run was given, what came of it, and how far it says that it is. $1 run.
SELECT r.input::text AS input, r.source_ref, r.depth, r.causation_id, r.traceparent,
       CASE WHEN e.expires_at > clock_timestamp() THEN e.result::text END AS result,
       e.expires_at <= clock_timestamp() AS result_expired, e.expires_at AS result_until,
       p.done AS progress_done, p.total AS progress_total, p.changed_at AS progress_at
FROM {schema}.run r
LEFT JOIN {schema}.run_end e ON e.run_id = r.id
LEFT JOIN {schema}.run_progress p ON p.run_id = r.id
WHERE r.id = $1
