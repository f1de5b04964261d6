-- Says that this process runs one delivery alone from now on, and who has vanished over it before: processes that said so
-- and have been silent for longer than their lease. Nothing is added up: one that comes back, or stops in good order, is no
-- longer counted, and what was before the delivery's last change counts no more. $1 worker, $2 delivery, $3 how many are
-- counted at most.
--
-- accidents: processes of the group that have vanished since the first of those for a reason that nobody knows.
-- No row comes back if this process is not registered.
WITH own AS (
    UPDATE {schema}.worker SET alone_with = $2, alone_since = clock_timestamp() WHERE id = $1 RETURNING group_id),
lost AS MATERIALIZED (
    SELECT w.host, w.pid, w.lease_until
    FROM {schema}.worker w
    WHERE w.alone_with = $2 AND w.id <> $1 AND w.lease_until < clock_timestamp()
      AND w.alone_since > (SELECT d.changed_at FROM {schema}.delivery d WHERE d.id = $2)
    ORDER BY w.lease_until),
noted AS (
    UPDATE {schema}.delivery SET crashes = (SELECT least(count(*), 32767) FROM lost)
    WHERE id = $2 AND crashes <> (SELECT least(count(*), 32767) FROM lost))
SELECT (SELECT count(*) FROM lost) AS crashes,
       ARRAY(SELECT format('%s (pid %s)', l.host, l.pid) FROM lost l ORDER BY l.lease_until) AS processes,
       (SELECT count(*) FROM (
            SELECT FROM {schema}.worker a
            WHERE a.group_id = own.group_id AND a.lease_until >= (SELECT min(l.lease_until) FROM lost l)
              AND a.lease_until < clock_timestamp() AND a.alone_with IS NULL AND a.drains
            LIMIT $3) vanished) AS accidents
FROM own
