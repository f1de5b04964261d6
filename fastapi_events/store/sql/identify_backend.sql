-- The server's process behind this connection: behind a pooler another one than the driver was told of.
SELECT pg_backend_pid() AS pid
