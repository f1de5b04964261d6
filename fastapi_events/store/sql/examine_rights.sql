-- What this role lacks of the rights that publishing and handling need, by table and sequence.
SELECT c.relname::text AS name, wanted.privilege
FROM pg_class c
CROSS JOIN LATERAL unnest(CASE c.relkind WHEN 'S' THEN '{USAGE}'::text[] ELSE '{SELECT,INSERT,UPDATE,DELETE}' END)
    AS wanted(privilege)
WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition
  AND c.relname NOT IN ('installation', 'schema_version', 'log_segment')
  AND NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, wanted.privilege)
               ELSE has_table_privilege(c.oid, wanted.privilege) END
ORDER BY 1, 2
