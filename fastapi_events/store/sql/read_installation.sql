-- What was fixed when the schema was made, and where this connection leads.
SELECT i.partitions, i.system_identifier AS installed_identifier, c.system_identifier, current_database() AS database
FROM {schema}.installation i CROSS JOIN pg_control_system() c
