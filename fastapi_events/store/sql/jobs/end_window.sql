-- A run stands for no further start of its former key any more, although the time is not over for which it was to. $1 run, $2 key.
DELETE FROM {schema}.run_dedupe d
USING {schema}.run r
WHERE r.id = $1 AND d.key = $2 AND d.job_id = r.job_id AND d.run_id = $1
