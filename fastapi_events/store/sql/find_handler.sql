-- A handler by its name, and the live processes that run it. Whoever asks has locked the group. $1 group, $2 name.
SELECT h.id, h.retired_at,
       (SELECT count(*) FROM {schema}.worker w
        WHERE w.group_id = h.group_id AND w.lease_until > clock_timestamp() AND w.drains AND h.id = ANY (w.handlers))
           AS processes
FROM {schema}.handler h
WHERE h.group_id = $1 AND h.name = $2
