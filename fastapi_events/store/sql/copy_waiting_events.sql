-- Gives deliveries that are not over a copy of their event, before the segment that holds it is dropped.
-- $1 after this position, $2 below this position, $3 deliveries to look at. Returns the last position looked at.
WITH looked AS MATERIALIZED (
    SELECT d.position, d.handler_id, d.lane, d.partition, d.state IN ('waiting', 'dead') AND d.event IS NULL AS bare
    FROM {schema}.delivery d
    WHERE d.position > $1 AND d.position < $2
    ORDER BY d.position
    LIMIT $3),
bare AS MATERIALIZED (SELECT * FROM looked WHERE bare),
copied AS (
    UPDATE {schema}.delivery d
    SET event = (SELECT to_jsonb(e) - 'xid' FROM {schema}.event e
                 WHERE e.lane = b.lane AND e.partition = b.partition
                   AND e.position >= b.position AND e.position <= b.position
                 ORDER BY e.lane, e.partition, e.position
                 LIMIT 1)
    FROM bare b
    WHERE d.position = ANY (ARRAY(SELECT position FROM bare)) AND d.position = b.position
      AND d.handler_id = b.handler_id AND d.state IN ('waiting', 'dead') AND d.event IS NULL)
SELECT count(*) AS looked, max(position) AS last FROM looked
