-- One row: what was fixed when the schema was made. Partition numbers are stored with every event, so their count
-- cannot change later; the cluster's identity tells a restored copy from the original.
CREATE TABLE {schema}.installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    partitions smallint NOT NULL,
    system_identifier bigint NOT NULL,
    log_segment_size bigint NOT NULL DEFAULT 16777216,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The event log: append-only, no status column. other_versions: the payload in further versions, by their number, for
-- handlers that have not moved yet. The transaction id comes first among the columns because defaults
-- are evaluated in column order: every row's position is drawn after its transaction has its id, which is what lets
-- a segment be sealed (see log_segment).
CREATE SEQUENCE {schema}.event_position AS bigint;

CREATE TABLE {schema}.event (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    position bigint NOT NULL DEFAULT nextval('{schema}.event_position'),
    lane smallint NOT NULL,
    partition smallint NOT NULL,
    version smallint NOT NULL DEFAULT 1,
    depth smallint NOT NULL DEFAULT 0,
    id uuid NOT NULL,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    name text NOT NULL,
    aggregate text,
    aggregate_id text,
    key text,
    tenant_id text,
    actor text,
    headers jsonb,
    other_versions jsonb,
    payload jsonb NOT NULL,
    PRIMARY KEY (lane, partition, position)
) PARTITION BY RANGE (position);

-- Opening a window: what became visible since a snapshot, found by transaction id. Lane and partition are one
-- expression here, so that this index and the primary key can never stand in for each other, whatever the statistics.
CREATE INDEX event_window ON {schema}.event ((lane::integer * 1024 + partition), xid, position);

-- For people: pages of history by position, one event by its id, a conversation, an aggregate.
CREATE INDEX event_position_brin ON {schema}.event USING brin (position) WITH (pages_per_range = 32, autosummarize = on);

CREATE INDEX event_id ON {schema}.event (id);

-- Most conversations have one event, whose id is the conversation's: that one is found by its id.
CREATE INDEX event_correlation ON {schema}.event (correlation_id) WHERE correlation_id <> id;

CREATE INDEX event_aggregate ON {schema}.event (aggregate, aggregate_id, position) WHERE aggregate_id IS NOT NULL;

-- What people of one tenant see is theirs alone, however little it is of the log. Costs nothing where there is no
-- tenant.
CREATE INDEX event_tenant ON {schema}.event (tenant_id, position) WHERE tenant_id IS NOT NULL;

-- The log is cut into segments by position. Once no transaction that could still append to a segment is alive it is
-- sealed: a reader whose snapshot begins at or after sealed_before has seen all of it and never looks there again.
-- dropping: retention has detached its table, which is about to be dropped.
CREATE TABLE {schema}.log_segment (
    lower bigint PRIMARY KEY,
    upper bigint NOT NULL,
    sealed_before xid8,
    dropping boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Ids given by the publisher, for which a second publish must be a no-op. Fresh ids need no row. While the event is
-- scheduled there is no position, and there never is one if it was cancelled: its id stays taken. created_at: what its
-- age counts from, which is its time while it is scheduled, and the moment of its appending afterwards.
CREATE TABLE {schema}.event_key (
    event_id uuid PRIMARY KEY,
    position bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- removed_at: an operator has removed the group, which has another name since then.
CREATE TABLE {schema}.consumer_group (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    paused_lanes smallint[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at timestamptz
);

CREATE SEQUENCE {schema}.handler_revision AS bigint;

-- Handlers that a group has or had. started_after is taken in a statement after the row became visible, so an event
-- that is not visible in it is always claimed by somebody who knows the handler. A renamed handler keeps the names it
-- had: processes of the release before go on under them, whichever starts when. start_position, start_time and
-- start_pattern say of which history a replay begins in the statement that sets started_after; a null position: of
-- none. job: the job that it starts, if it is a trigger.
CREATE TABLE {schema}.handler (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id integer NOT NULL REFERENCES {schema}.consumer_group (id),
    name text NOT NULL,
    former_names text[] NOT NULL DEFAULT '{}',
    selects text NOT NULL,
    ordered boolean NOT NULL DEFAULT true,
    on_dead text NOT NULL DEFAULT 'park' CHECK (on_dead IN ('park', 'continue')),
    started_after pg_snapshot,
    start_position bigint,
    start_time timestamptz,
    start_pattern text,
    revision bigint NOT NULL DEFAULT nextval('{schema}.handler_revision'),
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz,
    paused_at timestamptz,
    job text,
    UNIQUE (group_id, name) DEFERRABLE
);

CREATE INDEX handler_by_revision ON {schema}.handler (group_id, revision);

-- Processes: a random id per start, alive as long as the lease is extended. broadcasts: the handlers that it calls for
-- itself, which are registered nowhere else. alone_with: the delivery that it runs alone since that moment,
-- because it may have ended other processes. jobs: the numbers of those that it runs; pools: how many at once, by pool.
CREATE TABLE {schema}.worker (
    id uuid PRIMARY KEY,
    group_id integer NOT NULL REFERENCES {schema}.consumer_group (id),
    host text NOT NULL,
    pid integer NOT NULL,
    drains boolean NOT NULL,
    lanes smallint[] NOT NULL DEFAULT '{}',
    release text NOT NULL,
    handlers integer[] NOT NULL DEFAULT '{}',
    connections smallint NOT NULL,
    wake_up text NOT NULL DEFAULT 'polling',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL,
    stale_settles bigint NOT NULL DEFAULT 0,
    broadcasts jsonb NOT NULL DEFAULT '[]',
    broadcast_failures bigint NOT NULL DEFAULT 0,
    broadcast_skipped bigint NOT NULL DEFAULT 0,
    alone_with uuid,
    alone_since timestamptz,
    jobs integer[] NOT NULL DEFAULT '{}',
    pools jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

CREATE INDEX worker_alive ON {schema}.worker (group_id, lease_until);

CREATE INDEX worker_alone ON {schema}.worker (alone_with) WHERE alone_with IS NOT NULL;

-- Where each group is in each partition. Never updated: the newest row of a partition is its state, its seq is the
-- fencing token. lease_until is null when the partition is free. crashes: how many processes in a row have vanished at
-- this place.
CREATE TABLE {schema}.cursor_log (
    group_id integer NOT NULL,
    lane smallint NOT NULL,
    partition smallint NOT NULL,
    seq bigint NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    position bigint NOT NULL DEFAULT 0,
    floor bigint NOT NULL DEFAULT 0,
    remaining bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    worker_id uuid,
    crashes smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (group_id, lane, partition, seq)
);

-- Proof that a handler is done with an event: written by transactional handlers with their effects, and by handlers
-- with an idempotency key. replay_id is the zero UUID outside replays. A mark with outcome 'x' proves nothing: it keeps
-- attempts at the events of dead_positions, which are dead, from committing, and gives way to any other event.
CREATE TABLE {schema}.processing_mark (
    handler_id integer NOT NULL,
    replay_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    key uuid NOT NULL,
    position bigint NOT NULL,
    outcome "char" NOT NULL DEFAULT 'd',
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dead_positions bigint[],
    PRIMARY KEY (handler_id, key, replay_id)
);

-- Successes of a batch, one row per set of handlers. note: why a trigger has started nothing.
CREATE TABLE {schema}.success_batch (
    group_id integer NOT NULL,
    lane smallint NOT NULL,
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    handler_ids integer[] NOT NULL,
    positions bigint[] NOT NULL,
    worker_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text
);

CREATE INDEX success_batch_by_position ON {schema}.success_batch (group_id, lane, last_position);

CREATE INDEX success_batch_by_time ON {schema}.success_batch USING brin (finished_at) WITH (autosummarize = on);

-- What failed, waits, or is dead. The parked key is its queue's lock; without an ordering key the slot is the event's
-- own. holds: it is dead and keeps what follows it in its slot waiting; tombstone: the key of the mark that its death
-- left. crashes: how many processes have vanished while they ran it alone. Of a replay it has the replay's id (else the
-- zero UUID) and a slot that is the replay's own.
CREATE TABLE {schema}.delivery (
    id uuid NOT NULL UNIQUE,
    handler_id integer NOT NULL REFERENCES {schema}.handler (id),
    replay_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    position bigint NOT NULL,
    lane smallint NOT NULL,
    partition smallint NOT NULL,
    slot text NOT NULL,
    event_id uuid NOT NULL,
    event_name text NOT NULL,
    tenant_id text,
    state text NOT NULL CHECK (state IN ('waiting', 'dead', 'discarded', 'done')),
    reason text NOT NULL,
    note text,
    attempts integer NOT NULL DEFAULT 0,
    attempts_before integer NOT NULL DEFAULT 0,
    postponed integer NOT NULL DEFAULT 0,
    redrives integer NOT NULL DEFAULT 0,
    crashes smallint NOT NULL DEFAULT 0,
    error_type text,
    error_message text,
    fingerprint text,
    holds boolean NOT NULL DEFAULT false,
    tombstone uuid,
    event jsonb,
    published_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (handler_id, position, replay_id)
);

CREATE INDEX delivery_queue ON {schema}.delivery (handler_id, slot, position) WHERE state = 'waiting';

CREATE INDEX delivery_held ON {schema}.delivery (handler_id, slot, position) WHERE state = 'dead' AND holds;

CREATE INDEX delivery_dead ON {schema}.delivery (changed_at, id) WHERE state = 'dead';

-- Erasing finds the copies of events that the log has dropped.
CREATE INDEX delivery_copy ON {schema}.delivery ((event ->> 'aggregate'), (event ->> 'aggregate_id'))
    WHERE event IS NOT NULL;

CREATE INDEX delivery_of_event ON {schema}.delivery (position);

CREATE INDEX delivery_of_replay ON {schema}.delivery (replay_id, state)
    WHERE replay_id <> '00000000-0000-0000-0000-000000000000';

-- Every attempt that did not simply succeed at once.
CREATE TABLE {schema}.attempt (
    delivery_id uuid NOT NULL,
    number integer NOT NULL,
    outcome text NOT NULL,
    error_type text,
    error_message text,
    traceback text,
    worker_id uuid NOT NULL,
    duration double precision NOT NULL DEFAULT 0,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX attempt_of_delivery ON {schema}.attempt (delivery_id, finished_at);

-- Lock and lease of one (handler, slot): due_at is when it may be tried, and while it is being tried, the lease.
-- needs: the version of its event that a process must read to take it; 0, unless one has found the head too new for it.
-- crashes: how many processes in a row have vanished with it in hand; suspect: its head is run alone, for it may be why.
CREATE TABLE {schema}.parked_key (
    handler_id integer NOT NULL,
    slot text NOT NULL,
    blocked boolean NOT NULL DEFAULT true,
    due_at timestamptz NOT NULL,
    token bigint NOT NULL DEFAULT 1,
    version bigint NOT NULL DEFAULT 1,
    needs smallint NOT NULL DEFAULT 0,
    worker_id uuid,
    lane smallint NOT NULL DEFAULT 1,
    crashes smallint NOT NULL DEFAULT 0,
    suspect boolean NOT NULL DEFAULT false,
    PRIMARY KEY (slot, handler_id)
);

CREATE INDEX parked_key_due ON {schema}.parked_key (handler_id, due_at) WHERE blocked AND needs = 0 AND NOT suspect;

CREATE INDEX parked_key_newer ON {schema}.parked_key (handler_id, needs, due_at)
    WHERE blocked AND needs > 0 AND NOT suspect;

CREATE INDEX parked_key_suspect ON {schema}.parked_key (handler_id, due_at) WHERE blocked AND suspect;

-- Circuit breakers of handlers that have failed: the newest failures without a success between them, and while it is
-- open, since when, and when the next probe may be made.
CREATE TABLE {schema}.breaker (
    handler_id integer PRIMARY KEY REFERENCES {schema}.handler (id),
    failures timestamptz[] NOT NULL DEFAULT '{}',
    opened_at timestamptz,
    probe_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- What operators did, and whose events it concerned: the empty text stands for events of no tenant.
CREATE TABLE {schema}.operator_action (
    id uuid PRIMARY KEY,
    action text NOT NULL,
    actor text NOT NULL,
    target text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    tenants text[] NOT NULL DEFAULT '{}',
    acted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX operator_action_newest ON {schema}.operator_action (acted_at, id);

-- Events that wait for their time, as they were published. When due they are appended to the log, under their ids and
-- with new positions; until then they hold no ordering key, and no consumer knows of them. number is the order of
-- scheduling.
CREATE TABLE {schema}.scheduled_event (
    id uuid PRIMARY KEY,
    due_at timestamptz NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    scheduled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    serialize boolean NOT NULL DEFAULT false,
    lane smallint NOT NULL,
    partition smallint NOT NULL,
    version smallint NOT NULL DEFAULT 1,
    depth smallint NOT NULL DEFAULT 0,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    occurred_at timestamptz NOT NULL,
    name text NOT NULL,
    aggregate text,
    aggregate_id text,
    key text,
    tenant_id text,
    actor text,
    headers jsonb,
    payload jsonb NOT NULL,
    other_versions jsonb
);

CREATE INDEX scheduled_event_due ON {schema}.scheduled_event (due_at, number);

-- What people of one tenant see of the schedule; and an erasure finds what waits of an aggregate.
CREATE INDEX scheduled_event_tenant ON {schema}.scheduled_event (tenant_id, due_at, number)
    WHERE tenant_id IS NOT NULL;

CREATE INDEX scheduled_event_aggregate ON {schema}.scheduled_event (aggregate, aggregate_id, number)
    WHERE aggregate_id IS NOT NULL;

-- How far retention has got in the tables that it sweeps page by page, and under no table's name when its last round
-- began.
CREATE TABLE {schema}.sweep (
    table_name text PRIMARY KEY,
    next_page bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- History given again to one handler. What it is of is fixed when it starts: the events up to to_position that its
-- shares' snapshots show and every filter lets through. paced_until: no share is taken before; it is how a rate holds
-- for all processes together. starts: it began with its handler, which is ordered or not; what is live waits for its
-- end if it is. total: as counted at the start, null where nobody has counted; done: given to the handler, or found to
-- be done; skipped: erased, or nothing to do for a trigger.
CREATE TABLE {schema}.replay (
    id uuid PRIMARY KEY,
    handler_id integer NOT NULL REFERENCES {schema}.handler (id),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'cancelled', 'done', 'failed')),
    note text,
    starts boolean NOT NULL DEFAULT false,
    started_after pg_snapshot,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    names text[],
    pattern text,
    aggregate text,
    aggregate_id text,
    key text,
    tenants text[],
    correlation_id uuid,
    since timestamptz,
    until timestamptz,
    rate double precision,
    paced_until timestamptz NOT NULL DEFAULT '-infinity',
    total bigint,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    created_by text NOT NULL,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
) WITH (fillfactor = 50);

-- One at a time of each handler.
CREATE UNIQUE INDEX replay_unfinished ON {schema}.replay (handler_id) WHERE state IN ('running', 'paused');

-- Where a replay is in each partition. A process that takes one moves its token on, and has it until lease_until. seen,
-- target and reached are where the group's cursor was when the replay started: what it had dealt with then is the
-- replay's, and what it had not is delivered as it always is. crashes: how many processes in a row have vanished with
-- it.
CREATE TABLE {schema}.replay_share (
    replay_id uuid NOT NULL REFERENCES {schema}.replay (id) ON DELETE CASCADE,
    lane smallint NOT NULL,
    partition smallint NOT NULL,
    position bigint NOT NULL,
    seen pg_snapshot NOT NULL,
    target pg_snapshot,
    reached bigint NOT NULL DEFAULT 0,
    finished boolean NOT NULL DEFAULT false,
    token bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    worker_id uuid,
    crashes smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (replay_id, lane, partition)
) WITH (fillfactor = 50);

-- Jobs that a group has or had. A renamed job keeps its row and the names it had, as a handler does.
CREATE TABLE {schema}.job (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id integer NOT NULL REFERENCES {schema}.consumer_group (id),
    name text NOT NULL,
    former_names text[] NOT NULL DEFAULT '{}',
    pool text NOT NULL,
    announces boolean NOT NULL DEFAULT false,
    revision bigint NOT NULL DEFAULT 0,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_at timestamptz,
    UNIQUE (group_id, name) DEFERRABLE
);

CREATE INDEX job_announcing ON {schema}.job (id) WHERE announces;

-- Runs of jobs, as they were started: what is written here never changes, but for an input that is edited. limits: the keys by which it is bounded, for a
-- run that begins anew. number: the order of starting, by the
-- database; clients' clocks decide nothing.
CREATE SEQUENCE {schema}.run_number AS bigint;

CREATE TABLE {schema}.run (
    id uuid PRIMARY KEY,
    number bigint NOT NULL,
    job_id integer NOT NULL,
    priority smallint NOT NULL DEFAULT 0,
    depth smallint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    source text NOT NULL DEFAULT 'manual' CHECK (source IN ('manual', 'schedule', 'event', 'parent')),
    source_ref text,
    parent_id uuid,
    root_id uuid,
    on_parent_close text,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    tenant_id text,
    actor text,
    scope text,
    scope_id text,
    tags text[],
    traceparent text,
    event_id uuid,
    trigger_id integer,
    schedule_id integer,
    scheduled_for timestamptz,
    limits jsonb,
    input jsonb NOT NULL
);

-- An event starts one run by a trigger, the number of its handler. Also what is found of an event.
CREATE UNIQUE INDEX run_event ON {schema}.run (event_id, trigger_id) WHERE event_id IS NOT NULL;

CREATE UNIQUE INDEX run_tick ON {schema}.run (schedule_id, scheduled_for) WHERE schedule_id IS NOT NULL;

CREATE INDEX run_of_job ON {schema}.run (job_id, number);

CREATE INDEX run_scope ON {schema}.run (scope, scope_id, number) WHERE scope IS NOT NULL;

CREATE INDEX run_parent ON {schema}.run (parent_id, number) WHERE parent_id IS NOT NULL;

CREATE INDEX run_root ON {schema}.run (root_id, number) WHERE root_id IS NOT NULL;

CREATE INDEX run_tenant ON {schema}.run (tenant_id, number) WHERE tenant_id IS NOT NULL;

-- Runs that have not ended: one narrow row each, the only thing that changes while a run lives. state: r ready, t waits for
-- its time (a start in the future, a back-off), x is being run, w waits for children, g waits at a gate. due_at: when a waiting one is due, or when the lease of
-- one that is being run is over; null for ready ones. token is the fence. crashes: how many processes have vanished with
-- it. children: how many it has spawned that have not ended; has_family: whether it has spawned any; news: how many have ended,
-- by which one that goes to wait learns of those that end meanwhile; wakes: it waits for some of them, and looks at each end.
-- lapsed: a lease on it has run out, or it was put down in the middle of something, so that nobody knows what was done. postponed: attempts that spent nothing; resumed: it has been worked on, so that it may have steps. attempts_before: those before the last redrive, which do not count.
-- limit_key and rate_key: of what no more than so many may be at work, or begin; null for a run that is not limited. gate: where
-- it waits, 'c' and its limit_key or 'r' and its rate_key. holds: it has passed its gates, and counts until its attempt is over.
-- exclusive: starts of its limit_key look for it. dedupe_key: the row of run_dedupe that goes with it.
CREATE TABLE {schema}.run_queue (
    run_id uuid PRIMARY KEY,
    number bigint NOT NULL,
    job_id integer NOT NULL,
    priority smallint NOT NULL,
    state "char" NOT NULL CHECK (state IN ('r', 't', 'x', 'w', 'g')),
    crashes smallint NOT NULL DEFAULT 0,
    crashes_alone smallint NOT NULL DEFAULT 0,
    alone_since timestamptz,
    lapsed boolean NOT NULL DEFAULT false,
    due_at timestamptz,
    token bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    attempts_before integer NOT NULL DEFAULT 0,
    postponed integer NOT NULL DEFAULT 0,
    redrives integer NOT NULL DEFAULT 0,
    resumed boolean NOT NULL DEFAULT false,
    parent_id uuid,
    on_parent_close text CHECK (on_parent_close IN ('terminate', 'cancel', 'abandon')),
    children integer NOT NULL DEFAULT 0,
    has_family boolean NOT NULL DEFAULT false,
    wakes boolean NOT NULL DEFAULT false,
    news bigint NOT NULL DEFAULT 0,
    worker_id uuid,
    cancel_reason text,
    limit_key text,
    rate_key text,
    gate text,
    holds boolean NOT NULL DEFAULT false,
    exclusive boolean NOT NULL DEFAULT false,
    dedupe_key text
) WITH (fillfactor = 70);

CREATE INDEX run_queue_ready ON {schema}.run_queue (job_id, priority DESC, number) WHERE state = 'r';

CREATE INDEX run_queue_canceled ON {schema}.run_queue (run_id) WHERE cancel_reason IS NOT NULL AND state <> 'x';

CREATE INDEX run_queue_parent ON {schema}.run_queue (parent_id) WHERE parent_id IS NOT NULL;

CREATE INDEX run_queue_of_job ON {schema}.run_queue (job_id, state, number);

CREATE INDEX run_queue_gated ON {schema}.run_queue (job_id, gate, priority DESC, number) WHERE state = 'g';

CREATE INDEX run_queue_holding ON {schema}.run_queue (job_id, limit_key) WHERE holds AND limit_key IS NOT NULL;

CREATE INDEX run_queue_exclusive ON {schema}.run_queue (job_id, limit_key, number) WHERE exclusive;

CREATE INDEX run_queue_due ON {schema}.run_queue (due_at) WHERE due_at IS NOT NULL;

-- How runs ended: one row each, which goes again if a run is redriven. expires_at: until when its result is kept. discarded_at: since
-- when nobody is to be told any more that it has failed.
CREATE TABLE {schema}.run_end (
    run_id uuid PRIMARY KEY,
    job_id integer NOT NULL,
    state text NOT NULL CHECK (state IN ('completed', 'failed', 'timed_out', 'canceled')),
    reason text,
    note text,
    result jsonb,
    error_type text,
    error_message text,
    fingerprint text,
    attempts integer NOT NULL,
    redrives integer NOT NULL DEFAULT 0,
    worker_id uuid,
    duration double precision NOT NULL DEFAULT 0,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    discarded_at timestamptz
);

CREATE INDEX run_end_of_job ON {schema}.run_end (job_id, state, finished_at);

-- Runs that are dead: they have failed, and nobody has dealt with it.
CREATE INDEX run_end_dead ON {schema}.run_end (job_id, finished_at) WHERE state IN ('failed', 'timed_out') AND discarded_at IS NULL;

-- Attempts at runs that did not simply succeed at once.
CREATE TABLE {schema}.run_attempt (
    run_id uuid NOT NULL,
    number integer NOT NULL,
    outcome text NOT NULL,
    error_type text,
    error_message text,
    traceback text,
    worker_id uuid NOT NULL,
    duration double precision NOT NULL DEFAULT 0,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX run_attempt_of_run ON {schema}.run_attempt (run_id, finished_at);

-- What runs have done and wait for: one row per step, by its id. number: its turn in the attempt that first came to it, by
-- which an id that is not the same in each attempt is found out. source: the function that it calls. due_at: until when a
-- sleep lasts. A step that is tried again has a row too, with its attempts. since: of a wait for an event, if the run was let begin anew
-- while it lasted, what was there then, and is not meant.
CREATE TABLE {schema}.run_step (
    run_id uuid NOT NULL,
    name text NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('step', 'sleep', 'checkpoint', 'spawn', 'signal', 'event')),
    state text NOT NULL CHECK (state IN ('done', 'waiting', 'retry')),
    source text,
    result jsonb,
    secret boolean NOT NULL DEFAULT false,
    attempts integer NOT NULL DEFAULT 1,
    error_type text,
    error_message text,
    duration double precision NOT NULL DEFAULT 0,
    due_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    since pg_snapshot,
    PRIMARY KEY (run_id, name)
);

-- How far runs are, as they say themselves.
CREATE TABLE {schema}.run_progress (
    run_id uuid PRIMARY KEY,
    done double precision NOT NULL,
    total double precision,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);

-- Signals that were sent to runs and that those have not taken yet, in the order of sending.
CREATE TABLE {schema}.run_signal (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL,
    name text NOT NULL,
    payload jsonb NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX run_signal_of_run ON {schema}.run_signal (run_id, name, number);

-- Events that runs wait for, each by its step. places: where such an event would be stored, as lane * 1024 + partition; since: what
-- was there already, and is not meant.
CREATE TABLE {schema}.run_wait (
    run_id uuid NOT NULL,
    name text NOT NULL,
    event_name text NOT NULL,
    key text,
    places integer[] NOT NULL,
    since pg_snapshot NOT NULL,
    PRIMARY KEY (run_id, name)
);

-- Schedules: what starts a job by itself, as the process that started last has declared it (declared_by). next_at: the tick
-- that comes next, from which alone the one after it follows. input, priority and scope are those of each run, limits the keys that
-- bound it, made of the input. last_note: why the last tick has started no run, but last_run_id stands for it.
CREATE TABLE {schema}.schedule (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id integer NOT NULL REFERENCES {schema}.consumer_group (id),
    name text NOT NULL,
    former_names text[] NOT NULL DEFAULT '{}',
    job_id integer NOT NULL,
    spec text NOT NULL,
    tz text NOT NULL,
    missed text NOT NULL CHECK (missed IN ('once', 'skip', 'all')),
    input jsonb NOT NULL,
    priority smallint NOT NULL,
    scope text,
    scope_id text,
    limits jsonb,
    next_at timestamptz NOT NULL,
    last_tick_at timestamptz,
    last_run_id uuid,
    last_note text,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    declared_by uuid NOT NULL,
    paused_at timestamptz,
    UNIQUE (group_id, name) DEFERRABLE
) WITH (fillfactor = 70);

-- The runs that stand for further starts of the same key. expires_at: until when, for a window; null until the run has ended,
-- or begun (until_started).
CREATE TABLE {schema}.run_dedupe (
    job_id integer NOT NULL,
    key text NOT NULL,
    run_id uuid NOT NULL,
    until_started boolean NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (key, job_id)
);

CREATE INDEX run_dedupe_over ON {schema}.run_dedupe (expires_at) WHERE expires_at IS NOT NULL;

-- What opens a gate is one statement at a time: its row is locked by whoever lets runs through, and its version tells whether
-- others have since the statement began. Nothing is counted here: who is at work is asked of run_queue, so that no count can be
-- wrong. tat: the theoretical arrival time of a rate. turn_at: for when its next turn is in run_turn already. Gates: 'c' and 'r' as in
-- run_queue, 's' where starts of a key are one at a time.
CREATE TABLE {schema}.run_limit (
    job_id integer NOT NULL,
    gate text NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    tat timestamptz,
    turn_at timestamptz,
    PRIMARY KEY (gate, job_id)
) WITH (fillfactor = 70);

-- Occasions to look at a gate: a run has come, one has gone, or time has. Rows are only added and taken, so that nobody waits.
CREATE TABLE {schema}.run_turn (
    job_id integer NOT NULL,
    gate text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX run_turn_due ON {schema}.run_turn (job_id, due_at);

-- Runs whose place another one has taken, and that workers write: those at work are told by the next renewal, the others are ended by
-- whoever finds them. A table of its own, because the transaction that says so is the application's, and must not hold their rows.
CREATE TABLE {schema}.run_replaced (
    run_id uuid PRIMARY KEY,
    reason text NOT NULL
);

-- Inputs that operators have replaced, as they were before, each by the action that did so.
CREATE TABLE {schema}.run_edit (
    action_id uuid PRIMARY KEY,
    run_id uuid NOT NULL,
    input jsonb NOT NULL,
    edited_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX run_edit_of_run ON {schema}.run_edit (run_id, edited_at);

-- What runs say of themselves: lines are only added, each flush of a process in one statement. number: their order, within a run.
-- level: as Python's logging numbers it. step: in which it was said; logger: the one that it came from, if it was not the run's own.
CREATE TABLE {schema}.run_log (
    run_id uuid NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    said_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    level smallint NOT NULL,
    step text,
    logger text,
    message text NOT NULL,
    fields jsonb,
    traceback text,
    PRIMARY KEY (run_id, number)
);

-- How many lines of a run are left out, since it has said too much.
CREATE TABLE {schema}.run_log_cut (
    run_id uuid PRIMARY KEY,
    lines bigint NOT NULL
) WITH (fillfactor = 70);

-- How many are at work at once in each process of a group, by pool, where an operator has said so over the settings. concurrency: null
-- once that was taken back; the row stays for its revision.
CREATE TABLE {schema}.pool (
    group_id integer NOT NULL REFERENCES {schema}.consumer_group (id),
    name text NOT NULL,
    concurrency integer,
    revision bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (group_id, name)
)
