-- Takes an event from the schedule; no row if it is not there (any more). If it is being appended this waits for it, and
-- finds nothing. Its id, if it was given, stays taken. $1 id.
DELETE FROM {schema}.scheduled_event WHERE id = $1::uuid RETURNING id, name
