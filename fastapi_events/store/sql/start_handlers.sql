-- Fixes from where new handlers receive: after what is visible now. A statement of its own, after the rows became
-- visible; whoever finds one unset waits here for the other that sets it. $1 group.
UPDATE {schema}.handler
SET started_after = pg_current_snapshot(), revision = nextval('{schema}.handler_revision')
WHERE group_id = $1 AND started_after IS NULL
