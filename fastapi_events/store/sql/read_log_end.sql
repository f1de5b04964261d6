-- How far the log has got, and how far its segments reach; reading the queue's usage also frees what listeners have read.
SELECT s.last_value AS position, (SELECT max(upper) FROM {schema}.log_segment) AS reach, i.log_segment_size AS size,
       pg_notification_queue_usage() AS notify_queue
FROM {schema}.event_position s CROSS JOIN {schema}.installation i
