-- The newest revisions of a group's handlers and jobs. $1 group.
SELECT (SELECT coalesce(max(h.revision), 0) FROM {schema}.handler h WHERE h.group_id = $1) AS revision,
       (SELECT coalesce(max(j.revision), 0) FROM {schema}.job j WHERE j.group_id = $1) AS jobs_revision
