-- Handlers and segments know nothing of transactions of the other cluster; from now on the log is this cluster's.
WITH handlers AS (
    UPDATE {schema}.handler SET started_after = '3:3:', revision = nextval('{schema}.handler_revision')),
segments AS (
    UPDATE {schema}.log_segment SET sealed_before = NULL)
UPDATE {schema}.installation SET system_identifier = (SELECT system_identifier FROM pg_control_system())
