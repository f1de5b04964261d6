-- What kind of server this is and how full: for the doctor. Everything here may be read by any role.
SELECT current_setting('server_version_num')::integer AS version_number, current_setting('server_version') AS version,
       pg_is_in_recovery() AS standby, clock_timestamp() AS moment, current_user AS role,
       current_setting('max_connections')::integer
           - current_setting('superuser_reserved_connections')::integer AS usable_connections,
       (SELECT coalesce(sum(d.numbackends), 0)::integer FROM pg_stat_database d) AS connections,
       pg_notification_queue_usage() AS notify_queue,
       current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean AS autovacuum
