-- From now on the handler gets no new deliveries; the revision makes every process of the group read so before it
-- deals with what it claims next. What waits for it and what is dead stays. $1 handler.
UPDATE {schema}.handler
SET retired_at = clock_timestamp(), revision = nextval('{schema}.handler_revision')
WHERE id = $1
RETURNING retired_at
