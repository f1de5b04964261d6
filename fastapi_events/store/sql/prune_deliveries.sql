-- Removes deliveries that are over, and their attempts, from some pages of their table: those that were settled and dead
-- ones that keep nothing waiting, each at its age and never before its event. A dead one that keeps its key parked is
-- an operator's to decide about. $1 first page, $2 page after the last, $3 age of settled and $4 of dead ones in seconds
-- (null: for ever).
WITH over AS MATERIALIZED (
    SELECT d.ctid AS place, d.id FROM {schema}.delivery d
    WHERE d.ctid >= format('(%s,0)', $1::bigint)::tid AND d.ctid < format('(%s,0)', $2::bigint)::tid
      AND (d.state IN ('done', 'discarded') AND d.changed_at < clock_timestamp() - make_interval(secs => $3)
           OR d.state = 'dead' AND NOT d.holds AND d.changed_at < clock_timestamp() - make_interval(secs => $4))
      AND (SELECT e.position FROM {schema}.event e
           WHERE e.lane = d.lane AND e.partition = d.partition
             AND e.position >= d.position AND e.position <= d.position
           ORDER BY e.lane, e.partition, e.position
           LIMIT 1) IS NULL
    FOR UPDATE OF d SKIP LOCKED),
attempts AS (
    DELETE FROM {schema}.attempt WHERE delivery_id = ANY (ARRAY(SELECT id FROM over)))
DELETE FROM {schema}.delivery WHERE ctid = ANY (ARRAY(SELECT place FROM over))
