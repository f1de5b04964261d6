-- Where the sweep of a table goes on, and how many pages the table has. $1 table.
SELECT coalesce((SELECT s.next_page FROM {schema}.sweep s WHERE s.table_name = $1), 0) AS next_page,
       pg_relation_size(('{schema}.' || $1::text)::regclass) / current_setting('block_size')::integer AS pages
