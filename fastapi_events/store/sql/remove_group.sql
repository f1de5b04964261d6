-- Ends a group: its places in the log go, so that they keep nothing, its handlers are retired, and its name is free for a
-- group that begins anew. What waits for it is given up later, in parts. $1 group.
WITH places AS (DELETE FROM {schema}.cursor_log WHERE group_id = $1),
processes AS (DELETE FROM {schema}.worker WHERE group_id = $1),
handlers AS (
    UPDATE {schema}.handler
    SET retired_at = coalesce(retired_at, clock_timestamp()), revision = nextval('{schema}.handler_revision')
    WHERE group_id = $1)
UPDATE {schema}.consumer_group
SET removed_at = clock_timestamp(), name = format('%s (removed %s)', name, id)
WHERE id = $1
