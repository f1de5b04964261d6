-- Ends the replays of which every share is at its end. $1 handlers. Returns them, and whether they began with their handlers.
--
-- One that an ordered handler begins with is at its end only when nothing of it is still to be tried: what is live waits
-- for that, in the order of its keys. What waits behind a dead delivery of it holds nothing; it may wait for ever.
-- Processes are told by the revision; the group's row is locked before one is drawn.
WITH over AS MATERIALIZED (
    SELECT r.id, r.handler_id, r.starts, h.group_id
    FROM {schema}.replay r
    JOIN {schema}.handler h ON h.id = r.handler_id
    WHERE r.handler_id = ANY ($1::integer[]) AND r.state IN ('running', 'paused') AND r.state = 'running'
      AND (SELECT s.lane FROM {schema}.replay_share s WHERE s.replay_id = r.id AND NOT s.finished LIMIT 1) IS NULL
      AND (NOT (r.starts AND h.ordered)
           OR (SELECT d.position
               FROM {schema}.delivery d
               CROSS JOIN LATERAL (
                   SELECT k.due_at FROM {schema}.parked_key k
                   WHERE k.slot = d.slot AND k.handler_id = d.handler_id AND k.blocked
                   LIMIT 1) k
               WHERE d.replay_id = r.id AND d.replay_id <> '00000000-0000-0000-0000-000000000000' AND d.state = 'waiting'
                 AND k.due_at < 'infinity'
               LIMIT 1) IS NULL)),
grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g
    WHERE g.id = ANY (ARRAY(SELECT o.group_id FROM over o WHERE o.starts))
    FOR NO KEY UPDATE),
done AS (
    UPDATE {schema}.replay r
    SET state = 'done', finished_at = clock_timestamp(), changed_at = clock_timestamp()
    WHERE r.handler_id = ANY ($1::integer[]) AND r.state IN ('running', 'paused') AND r.state = 'running'
      AND r.id = ANY (ARRAY(SELECT o.id FROM over o
                            WHERE NOT o.starts OR o.group_id IN (SELECT g.id FROM grouped g)))
    RETURNING r.id, r.handler_id, r.starts),
told AS (
    UPDATE {schema}.handler h SET revision = nextval('{schema}.handler_revision')
    WHERE h.id = ANY (ARRAY(SELECT d.handler_id FROM done d WHERE d.starts)))
SELECT d.id, d.starts FROM done d
