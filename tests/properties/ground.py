"""One database, and what is kept of it from one example to the next."""

from __future__ import annotations

import psycopg

from tests.properties.process import Engines
from tests.properties.stable import SIMULATION, Stable

CLEAN = """
    TRUNCATE events.event, events.event_key, events.consumer_group, events.handler, events.worker, events.cursor_log,
        events.processing_mark, events.success_batch, events.delivery, events.attempt, events.parked_key,
        events.breaker, events.operator_action, events.scheduled_event, effect RESTART IDENTITY CASCADE;
    SELECT setval('events.event_position', 1, false), setval('events.handler_revision', 1, false),
        setval('simulated.moment', 1800000000000), setval('simulated.chance', 1);
"""


class Ground:
    """One database and the connections to it, for one example after the other."""

    def __init__(self, url: str) -> None:
        self.stable = Stable(url)
        self.engines = Engines()
        self.observer = psycopg.connect(url, autocommit=True)
        self.observer.execute(SIMULATION)
        self.observer.execute(
            "CREATE TABLE effect (id bigint GENERATED ALWAYS AS IDENTITY, handler text, number integer, process text)"
        )

    def close(self) -> None:
        self.stable.close()
        self.observer.close()
