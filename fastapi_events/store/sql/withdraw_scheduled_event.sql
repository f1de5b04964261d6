-- Takes an event from the schedule by an operator's hand; no row if it is not there (any more), or not of the operator's
-- tenants: such a row is not even waited for. If it is being appended this waits for it, and finds nothing. Its id, if it
-- was given, stays taken. $1 id, $2 tenants (null: all).
-- Asked in this way, the index of tenants is of no use, and the planner takes the one of ids; no tenant is the empty text.
DELETE FROM {schema}.scheduled_event
WHERE id = $1::uuid AND ($2::text[] IS NULL OR coalesce(tenant_id, '') = ANY (array_remove($2, '')))
RETURNING name, tenant_id
