-- What the handlers of every group select, but for retired ones.
SELECT DISTINCT selects FROM {schema}.handler WHERE retired_at IS NULL
