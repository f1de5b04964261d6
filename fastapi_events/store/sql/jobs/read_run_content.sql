-- What a run was given and where it comes from, what came of it, and how far it says that it is. $1 run.
SELECT r.input::text AS input, r.source_ref, r.depth, r.causation_id, r.traceparent, r.event_id, r.schedule_id, r.scheduled_for,
       (SELECT h.name FROM {schema}.handler h WHERE h.id = r.trigger_id LIMIT 1) AS trigger,
       (SELECT s.name FROM {schema}.schedule s WHERE s.id = r.schedule_id LIMIT 1) AS schedule,
       CASE WHEN e.expires_at > clock_timestamp() THEN e.result::text END AS result,
       e.expires_at <= clock_timestamp() AS result_expired, e.expires_at AS result_until,
       p.done AS progress_done, p.total AS progress_total, p.changed_at AS progress_at
FROM {schema}.run r
LEFT JOIN {schema}.run_end e ON e.run_id = r.id
LEFT JOIN {schema}.run_progress p ON p.run_id = r.id
WHERE r.id = $1
