-- Begins a round of retention; no row comes back if another began less than $1 seconds ago.
INSERT INTO {schema}.sweep AS s (table_name, next_page) VALUES ('', 0)
ON CONFLICT (table_name) DO UPDATE SET changed_at = excluded.changed_at
WHERE s.changed_at <= clock_timestamp() - make_interval(secs => $1)
RETURNING true
