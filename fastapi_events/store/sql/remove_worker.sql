-- A process that stopped in good order leaves at once. $1 id.
DELETE FROM {schema}.worker WHERE id = $1
