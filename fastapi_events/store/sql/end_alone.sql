-- What this process ran alone is over, and it lives. $1 worker.
UPDATE {schema}.worker SET alone_with = NULL WHERE id = $1
