-- Processes of this one's group that handled events and have vanished within the last $2 seconds: silent for longer than
-- their lease, without having left in good order. $1 worker, $3 how many are counted at most.
SELECT count(*) AS vanished
FROM (SELECT FROM {schema}.worker w
      WHERE w.group_id = (SELECT o.group_id FROM {schema}.worker o WHERE o.id = $1)
        AND w.lease_until < clock_timestamp() AND w.lease_until >= clock_timestamp() - make_interval(secs => $2)
        AND w.drains
      LIMIT $3) v
