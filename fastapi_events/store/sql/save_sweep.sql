-- Remembers where the sweep of a table goes on. $1 table, $2 page.
INSERT INTO {schema}.sweep (table_name, next_page) VALUES ($1, $2)
ON CONFLICT (table_name) DO UPDATE SET next_page = excluded.next_page, changed_at = excluded.changed_at
