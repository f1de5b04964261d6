-- Processes that have been dead for a day.
DELETE FROM {schema}.worker WHERE lease_until < clock_timestamp() - interval '1 day'
