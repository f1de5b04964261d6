"""Events on memory, for tests that need no database.

``switch`` is how a test begins; ``log`` is the log and the schedule, which follow the transactions of any database by
``held_back``; ``drain`` calls the handlers, by the engine's executor, and ``deliveries`` keeps what became of it.
``within_session`` calls handlers inside a test's own transaction, on PostgreSQL too.
"""

from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.switch import InMemory, Stored, in_memory

__all__ = ["Clock", "InMemory", "Stored", "in_memory"]
