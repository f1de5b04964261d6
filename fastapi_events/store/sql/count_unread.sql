-- How many of the events $2 the group $1 has not read to the end of and settled, of those in the lanes $3. The newest
-- row of a partition is its state: what is visible in "seen" is over, and of an open window what is not above its
-- position. A lane that the group does not read, such as that of audit events, has no row.
-- The lane is compared as an integer, so that no index but that of the ids can serve.
SELECT count(*) AS unread
FROM {schema}.event e
CROSS JOIN LATERAL (
    SELECT l.seen, l.target, l.position FROM {schema}.cursor_log l
    WHERE l.group_id = $1 AND l.lane = e.lane AND l.partition = e.partition
    ORDER BY l.group_id DESC, l.lane DESC, l.partition DESC, l.seq DESC
    LIMIT 1) c
WHERE e.id = ANY ($2::uuid[]) AND e.lane::integer = ANY ($3::integer[])
  AND NOT pg_visible_in_snapshot(e.xid, c.seen)
  AND NOT (c.target IS NOT NULL AND pg_visible_in_snapshot(e.xid, c.target) AND e.position <= c.position)
