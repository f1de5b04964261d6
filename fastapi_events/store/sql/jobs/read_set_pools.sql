-- How many are at work at once in each process, by pool, where somebody has said so. $1 group (null: every group).
SELECT g.name AS group_name, p.name AS pool, p.concurrency
FROM {schema}.pool p
JOIN {schema}.consumer_group g ON g.id = p.group_id
WHERE p.concurrency IS NOT NULL AND ($1::text IS NULL OR g.name = $1)
