-- Ends a group: its places in the log go, so that they keep nothing, its handlers are retired, its replays cancelled, and its
-- name is free for a group that begins anew. What waits for it is given up later, in parts. $1 group. Returns the replays.
--
-- A replay that went on would keep the log, and nobody could end it: replays are found by the group's name.
WITH places AS (DELETE FROM {schema}.cursor_log WHERE group_id = $1),
processes AS (DELETE FROM {schema}.worker WHERE group_id = $1),
handlers AS (
    UPDATE {schema}.handler
    SET retired_at = coalesce(retired_at, clock_timestamp()), revision = nextval('{schema}.handler_revision')
    WHERE group_id = $1),
replays AS (
    UPDATE {schema}.replay r
    SET state = 'cancelled', note = 'its group was removed', changed_at = clock_timestamp(),
        finished_at = clock_timestamp()
    FROM {schema}.handler h
    WHERE h.group_id = $1 AND r.handler_id = h.id AND r.state IN ('running', 'paused')
    RETURNING r.id, r.tenants, h.name AS handler),
ended AS (
    UPDATE {schema}.consumer_group
    SET removed_at = clock_timestamp(), name = format('%s (removed %s)', name, id)
    WHERE id = $1)
SELECT r.id, r.tenants, r.handler FROM replays r ORDER BY r.id
