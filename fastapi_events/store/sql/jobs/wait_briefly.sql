-- Until the caller's transaction ends no lock is waited for longer than so many milliseconds ($1): what an application's transaction
-- holds is asked for again a little later.
SELECT set_config('lock_timeout', $1::text, true)
