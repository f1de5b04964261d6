-- Where this connection leads: the cluster's identity and the database's name.
SELECT system_identifier, current_database() AS database FROM pg_control_system()
