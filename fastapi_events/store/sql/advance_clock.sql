-- Makes everything that is stored look older, as if that time had passed: the database's own clock cannot be moved.
-- $1 the time, $2 workers that have lived through it: they would have renewed their leases, so those stay. What the
-- publisher says of when it happened (occurred_at) stays too; a key without a due time ('infinity') goes on having none.
WITH installation AS (UPDATE {schema}.installation SET created_at = created_at - $1::interval),
event AS (UPDATE {schema}.event SET published_at = published_at - $1::interval),
log_segment AS (UPDATE {schema}.log_segment SET created_at = created_at - $1::interval),
event_key AS (UPDATE {schema}.event_key SET created_at = created_at - $1::interval),
consumer_group AS (
    UPDATE {schema}.consumer_group SET created_at = created_at - $1::interval, removed_at = removed_at - $1::interval),
handler AS (
    UPDATE {schema}.handler
    SET registered_at = registered_at - $1::interval, last_seen_at = last_seen_at - $1::interval,
        retired_at = retired_at - $1::interval, paused_at = paused_at - $1::interval),
worker AS (
    UPDATE {schema}.worker
    SET started_at = started_at - $1::interval, alone_since = alone_since - $1::interval,
        lease_until = CASE WHEN id = ANY ($2::uuid[]) THEN lease_until ELSE lease_until - $1::interval END),
-- Only the newest row of a partition has a say, but nothing tells it here: all of them move.
cursor_log AS (
    UPDATE {schema}.cursor_log SET lease_until = lease_until - $1::interval
    WHERE lease_until IS NOT NULL AND (worker_id IS NULL OR worker_id <> ALL ($2::uuid[]))),
processing_mark AS (UPDATE {schema}.processing_mark SET marked_at = marked_at - $1::interval),
success_batch AS (
    UPDATE {schema}.success_batch
    SET started_at = started_at - $1::interval, finished_at = finished_at - $1::interval),
-- The copy of an event says again when it was published.
delivery AS (
    UPDATE {schema}.delivery
    SET published_at = published_at - $1::interval, created_at = created_at - $1::interval,
        changed_at = changed_at - $1::interval,
        event = CASE WHEN event ? 'published_at'
                     THEN event || jsonb_build_object('published_at',
                                                      (event ->> 'published_at')::timestamptz - $1::interval)
                     ELSE event END),
attempt AS (UPDATE {schema}.attempt SET finished_at = finished_at - $1::interval),
-- due_at is a lease while somebody works on the key.
parked_key AS (
    UPDATE {schema}.parked_key SET due_at = due_at - $1::interval
    WHERE worker_id IS NULL OR worker_id <> ALL ($2::uuid[])),
breaker AS (
    UPDATE {schema}.breaker
    SET failures = ARRAY(SELECT f.at - $1::interval FROM unnest(failures) WITH ORDINALITY AS f(at, place)
                         ORDER BY f.place),
        opened_at = opened_at - $1::interval, probe_at = probe_at - $1::interval, changed_at = changed_at - $1::interval),
operator_action AS (UPDATE {schema}.operator_action SET acted_at = acted_at - $1::interval),
scheduled_event AS (
    UPDATE {schema}.scheduled_event
    SET due_at = due_at - $1::interval, scheduled_at = scheduled_at - $1::interval),
-- What a replay is of moves with the events: its bounds are moments at which they were published.
replay AS (
    UPDATE {schema}.replay
    SET since = since - $1::interval, until = until - $1::interval, paced_until = paced_until - $1::interval,
        created_at = created_at - $1::interval, changed_at = changed_at - $1::interval,
        finished_at = finished_at - $1::interval),
replay_share AS (
    UPDATE {schema}.replay_share SET lease_until = lease_until - $1::interval
    WHERE lease_until IS NOT NULL AND (worker_id IS NULL OR worker_id <> ALL ($2::uuid[]))),
sweep AS (UPDATE {schema}.sweep SET changed_at = changed_at - $1::interval),
job AS (
    UPDATE {schema}.job
    SET registered_at = registered_at - $1::interval, last_seen_at = last_seen_at - $1::interval,
        paused_at = paused_at - $1::interval),
run AS (
    UPDATE {schema}.run SET created_at = created_at - $1::interval, scheduled_for = scheduled_for - $1::interval),
-- due_at is a lease while somebody runs it.
run_queue AS (
    UPDATE {schema}.run_queue SET due_at = due_at - $1::interval, alone_since = alone_since - $1::interval
    WHERE due_at IS NOT NULL AND (worker_id IS NULL OR worker_id <> ALL ($2::uuid[]))),
run_end AS (
    UPDATE {schema}.run_end
    SET finished_at = finished_at - $1::interval, expires_at = expires_at - $1::interval,
        discarded_at = discarded_at - $1::interval),
run_attempt AS (UPDATE {schema}.run_attempt SET finished_at = finished_at - $1::interval),
run_step AS (
    UPDATE {schema}.run_step SET due_at = due_at - $1::interval, changed_at = changed_at - $1::interval),
run_progress AS (UPDATE {schema}.run_progress SET changed_at = changed_at - $1::interval),
run_signal AS (UPDATE {schema}.run_signal SET sent_at = sent_at - $1::interval),
run_dedupe AS (UPDATE {schema}.run_dedupe SET expires_at = expires_at - $1::interval),
run_limit AS (UPDATE {schema}.run_limit SET tat = tat - $1::interval, turn_at = turn_at - $1::interval),
run_turn AS (UPDATE {schema}.run_turn SET due_at = due_at - $1::interval),
pool AS (UPDATE {schema}.pool SET changed_at = changed_at - $1::interval),
run_log AS (UPDATE {schema}.run_log SET said_at = said_at - $1::interval),
run_edit AS (UPDATE {schema}.run_edit SET edited_at = edited_at - $1::interval),
-- The next tick comes sooner; those behind it follow from the rule again.
schedule AS (
    UPDATE {schema}.schedule
    SET next_at = next_at - $1::interval, last_tick_at = last_tick_at - $1::interval,
        registered_at = registered_at - $1::interval, last_seen_at = last_seen_at - $1::interval,
        paused_at = paused_at - $1::interval)
SELECT clock_timestamp() AS moment
