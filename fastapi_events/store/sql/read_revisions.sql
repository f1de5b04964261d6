-- The newest revisions of a group's handlers, jobs and pools, as a heartbeat learns them. $1 group.
SELECT (SELECT coalesce(max(h.revision), 0) FROM {schema}.handler h WHERE h.group_id = $1) AS revision,
       (SELECT coalesce(max(j.revision), 0) FROM {schema}.job j WHERE j.group_id = $1) AS jobs_revision,
       (SELECT coalesce(max(p.revision), 0) FROM {schema}.pool p WHERE p.group_id = $1) AS pools_revision
