DROP TABLE {schema}.pool, {schema}.run_log_cut, {schema}.run_log, {schema}.run_edit, {schema}.schedule, {schema}.run_replaced, {schema}.run_turn, {schema}.run_limit, {schema}.run_dedupe, {schema}.run_wait, {schema}.run_signal, {schema}.run_progress, {schema}.run_step, {schema}.run_attempt, {schema}.run_end, {schema}.run_queue, {schema}.run, {schema}.job, {schema}.replay_share, {schema}.replay, {schema}.sweep, {schema}.scheduled_event, {schema}.operator_action, {schema}.breaker, {schema}.parked_key, {schema}.attempt, {schema}.delivery,
    {schema}.success_batch, {schema}.processing_mark, {schema}.cursor_log, {schema}.worker, {schema}.handler, {schema}.consumer_group,
    {schema}.event_key, {schema}.log_segment, {schema}.event, {schema}.installation;

DROP SEQUENCE {schema}.run_number, {schema}.event_position, {schema}.handler_revision
