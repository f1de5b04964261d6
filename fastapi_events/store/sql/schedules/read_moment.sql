-- The moment, by the clock that decides when a tick is due.
SELECT clock_timestamp()
