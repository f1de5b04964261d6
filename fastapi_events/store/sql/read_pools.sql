-- What has been said of a group's pools over the settings (null: nothing any more), with the newest revision of it. $1 group.
SELECT p.name, p.concurrency, p.revision FROM {schema}.pool p WHERE p.group_id = $1 ORDER BY p.name
