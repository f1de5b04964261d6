-- Serialises writers of the given ordering keys until their transactions end; in one order, so that two writers of
-- several keys cannot deadlock. $1: a JSON array of keys.
SELECT count(pg_advisory_xact_lock(hashtextextended('fastapi_events:' || key, 0)))
FROM (SELECT DISTINCT key FROM jsonb_array_elements_text($1::text::jsonb) AS k(key) ORDER BY key) AS ordered
