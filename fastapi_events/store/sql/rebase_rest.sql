-- Handlers and segments know nothing of transactions of the other cluster; from now on the log is this cluster's. One that
-- has not started yet does so as ever. A replay
-- that had not ended knows its events by such transactions.
WITH handlers AS (
    UPDATE {schema}.handler SET started_after = '3:3:', revision = nextval('{schema}.handler_revision')
    WHERE started_after IS NOT NULL),
replays AS (
    UPDATE {schema}.replay
    SET state = 'failed', finished_at = clock_timestamp(), changed_at = clock_timestamp(),
        note = 'the log was restored into another cluster: start a replay of what is left'
    WHERE state IN ('running', 'paused')),
segments AS (
    UPDATE {schema}.log_segment SET sealed_before = NULL)
UPDATE {schema}.installation SET system_identifier = (SELECT system_identifier FROM pg_control_system())
