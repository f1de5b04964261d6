-- The attempt that this process made alone is over, and the process lives. $1 worker.
UPDATE {schema}.worker SET alone_with = NULL WHERE id = $1
