-- A group that has not been removed, locked against processes that join it. $1 name.
SELECT g.id FROM {schema}.consumer_group g WHERE g.name = $1 AND g.removed_at IS NULL FOR UPDATE
