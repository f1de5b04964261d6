-- Nobody claims or settles while places are rewritten.
LOCK TABLE {schema}.cursor_log IN EXCLUSIVE MODE
