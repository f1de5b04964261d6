-- Processes of a group that are alive. $1 group.
SELECT count(*) FROM {schema}.worker w WHERE w.group_id = $1 AND w.lease_until > clock_timestamp()
