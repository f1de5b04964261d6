-- Replays, newest first, with how their deliveries stand. $1 group, $2 tenants that the reader may see (null: all),
-- $3 one replay (null: every), $4 rows at most, $5 handler (null: any), $6 how many deliveries of a kind are counted.
SELECT r.id, r.state, r.note, r.starts, h.name AS handler, g.name AS group_name, r.from_position, r.to_position, r.names, r.pattern, h.selects,
       r.aggregate, r.aggregate_id, r.key, r.tenants, r.correlation_id, r.since, r.until, r.rate, r.total, r.done,
       r.failed, r.skipped, r.created_by, r.reason, r.created_at, r.changed_at, r.finished_at, s.reached,
       h.paused_at, b.opened_at AS breaker_opened_at,
       (SELECT count(*) FROM {schema}.worker w
        WHERE w.group_id = h.group_id AND w.lease_until > clock_timestamp() AND w.drains AND h.id = ANY (w.handlers))
           AS processes, waiting.n AS waiting, dead.n AS dead
FROM (SELECT q.* FROM {schema}.replay q
      JOIN {schema}.handler x ON x.id = q.handler_id
      JOIN {schema}.consumer_group y ON y.id = x.group_id
      WHERE ($3::uuid IS NULL OR q.id = $3) AND y.id = $1 AND ($2::text[] IS NULL OR q.tenants <@ $2)
        AND ($5::text IS NULL OR x.name = $5)
      ORDER BY q.created_at DESC, q.id DESC
      LIMIT $4) r
JOIN {schema}.handler h ON h.id = r.handler_id
JOIN {schema}.consumer_group g ON g.id = h.group_id
LEFT JOIN {schema}.breaker b ON b.handler_id = h.id
CROSS JOIN LATERAL (SELECT min(p.position) FILTER (WHERE NOT p.finished) AS reached FROM {schema}.replay_share p
                    WHERE p.replay_id = r.id) s
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT FROM {schema}.delivery d
    WHERE d.replay_id = r.id AND d.replay_id <> '00000000-0000-0000-0000-000000000000' AND d.state = 'waiting'
    LIMIT $6) w) waiting
CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT FROM {schema}.delivery d
    WHERE d.replay_id = r.id AND d.replay_id <> '00000000-0000-0000-0000-000000000000' AND d.state = 'dead'
    LIMIT $6) w) dead
ORDER BY r.created_at DESC, r.id DESC
