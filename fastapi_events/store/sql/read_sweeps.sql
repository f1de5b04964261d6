-- Where the sweeps of tables go on, and how many pages each table has. $1 tables.
SELECT t.name, coalesce(s.next_page, 0) AS next_page,
       pg_relation_size(('{schema}.' || t.name)::regclass) / current_setting('block_size')::integer AS pages
FROM unnest($1::text[]) AS t(name)
LEFT JOIN {schema}.sweep s ON s.table_name = t.name
