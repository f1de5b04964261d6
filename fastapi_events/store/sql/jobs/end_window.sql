-- A run stands for no further start any more, although the time is not over for which it was to. $1 run.
DELETE FROM {schema}.run_dedupe d WHERE d.run_id = $1 AND d.expires_at IS NOT NULL
