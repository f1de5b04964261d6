-- Whether this role may extend the log (its owner may), and which of the tables are left out by autovacuum.
SELECT pg_has_role(e.relowner, 'USAGE') AS owner,
       ARRAY(SELECT c.relname::text FROM pg_class c
             WHERE c.relnamespace = e.relnamespace AND c.relkind = 'r'
               AND c.reloptions && '{autovacuum_enabled=false,autovacuum_enabled=off,autovacuum_enabled=0}'
             ORDER BY 1) AS not_vacuumed
FROM pg_class e
WHERE e.oid = '{schema}.event'::regclass
