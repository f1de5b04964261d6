"""Every error a user of the library can meet, in one tree.

EventsError
├── DeclarationError            wrong use of the API, found at import or when modules are assembled
│   ├── InvalidEventName
│   ├── UnknownOption
│   ├── ContradictoryOptions
│   ├── DuplicateEvent
│   ├── DuplicateHandler
│   ├── InvalidHandler
│   ├── InvalidMiddleware
│   ├── InvalidUpcaster
│   ├── DuplicateUpcaster
│   ├── MissingUpcaster
│   └── AuditEventTriggerError
├── PublishError                a publish that was refused before any SQL, or that would leave the transaction
│   ├── UnknownEvent
│   ├── MissingTenantIdError
│   ├── InvalidPayload
│   │   └── PayloadTooLarge
│   ├── DetachedPublish
│   ├── NotInTransaction
│   ├── SessionClosed
│   ├── WrongDatabase
│   └── BulkChangeRefused
├── TransactionAborted          a handler went on after a database error; its transaction could not commit
├── HandlerSessionMisuse        a handler tried to end the transaction that the library owns
├── MiddlewareMisuse            a middleware did not call call_next exactly once, or with something else
├── OperationRefused            an operator's action that cannot be applied as asked
│   ├── NotFound                it names something that is not there, or not for this operator
│   └── NotOnMemory             something that only PostgreSQL does was asked of the in-memory back end
├── InvalidFilter               a search or page position that cannot be understood
├── ReadingUnavailable          a reading for people was given up so that it cannot harm the work
│   └── OperationUnavailable    an operator's action could not be carried out now
├── SettingsError
├── SchemaOutOfDate
├── NotStarted
└── Steering                    raised by handlers to say what shall become of a delivery
    ├── RetryLater
    ├── Discard
    └── DeadLetter
"""

from __future__ import annotations

from datetime import timedelta

LONGEST_DELAY = 10 * 365 * 86_400.0
"""Seconds: what is postponed further than ten years is a mistake, and soon more than a timestamp can hold."""

SHORTEST_POSTPONEMENT = 0.1
"""Seconds that ``RetryLater`` waits at least."""


class EventsError(Exception):
    """Root of every error raised by fastapi_events."""


class DeclarationError(EventsError):
    """A class, handler or module is declared in a way that can never work."""


class InvalidEventName(DeclarationError):
    """An event name is not of the form ``module.resource.event``."""


class UnknownOption(DeclarationError):
    """A keyword, condition or field does not exist; the message suggests the nearest one."""


class ContradictoryOptions(DeclarationError):
    """Options exclude each other, or one has a value that cannot work."""


class DuplicateEvent(DeclarationError):
    """Two classes declare the same event name and version."""


class DuplicateHandler(DeclarationError):
    """Two handlers of one group have the same id."""


class InvalidHandler(DeclarationError):
    """A handler asks for what a handler cannot be given, or is declared for what it cannot take."""


class InvalidMiddleware(DeclarationError):
    """Something that is no middleware, or one whose methods cannot be called, is given as ``middleware=``."""


class InvalidUpcaster(DeclarationError):
    """A function or step that can never lift a stored payload."""


class DuplicateUpcaster(DeclarationError):
    """Two upcasters lift the same version of an event."""


class MissingUpcaster(DeclarationError):
    """A handler takes a version to which older stored events cannot be lifted; found when the instance starts."""


class AuditEventTriggerError(DeclarationError):
    """An audit event is to start durable work, which it never does."""


class PublishError(EventsError):
    """An event was not published."""


class UnknownEvent(PublishError):
    """An abstract class is published, or a handler selects a name that is nearly a declared one, and no other."""


class MissingTenantIdError(PublishError):
    """In a multi-tenant application nothing says whose the event is."""


class InvalidPayload(PublishError):
    """A payload cannot be stored; ``path`` names the place inside it."""

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(message)
        self.path = path


class PayloadTooLarge(InvalidPayload):
    """A payload is larger than ``max_payload_size`` bytes."""


class DetachedPublish(PublishError):
    """A publish without a session, where a bound publisher or a handler's own session is active."""


class NotInTransaction(PublishError):
    """There is no open transaction that the event, or its cancellation, could commit with."""


class SessionClosed(PublishError):
    """The session that the publisher is bound to has been closed already."""


class WrongDatabase(PublishError):
    """The publishing session is connected to another database than the drain."""


class BulkChangeRefused(PublishError):
    """A statement would change rows of a class that emits events, and no event could tell of them."""


class TransactionAborted(EventsError):
    """A handler swallowed a database error, so that its transaction could only be rolled back."""


class HandlerSessionMisuse(EventsError):
    """A handler ended the transaction that it was given, or used it after it had returned."""


class MiddlewareMisuse(EventsError):
    """A middleware did not call ``call_next`` exactly once, with its context, and wait for it."""


class OperationRefused(EventsError):
    """An operator's action names something that does not exist or is not in a state that allows it."""


class NotFound(OperationRefused):
    """An operator's action or reading names something that is not there, or that this operator may not see."""


class NotOnMemory(OperationRefused):
    """The in-memory back end of tests does not do this; the message says what does."""


class InvalidFilter(EventsError):
    """A filter, cursor or limit of a reading is not understood; the message names the part and the mend.

    ``where`` is the parameter that is wrong.
    """

    where = "filter"


class ReadingUnavailable(EventsError):
    """A reading was given up: it took too long, or the database cannot be read now. It takes nothing from the work."""


class OperationUnavailable(ReadingUnavailable):
    """An operator's action could not be carried out now, and the message says why. It may safely be tried again."""


class SettingsError(EventsError):
    """Settings are wrong or missing; the message lists every problem at once."""


class SchemaOutOfDate(EventsError):
    """The database's schema is missing or of another version than this release needs."""


class NotStarted(EventsError):
    """An operation needs a started ``Events`` instance."""


class Steering(EventsError):
    """Raised by a handler to decide the fate of its delivery; never a defect."""


class RetryLater(Steering):
    """Try again after ``delay`` seconds without spending an attempt.

    ``max_age`` (seconds, default 24 hours, counted from the event's publication) bounds the postponing: past
    it the delivery is dead with reason ``max_attempts``. A delay below a tenth of a second is a tenth, since the
    database is asked again each time. Raises ``ValueError`` for a delay that is no number of seconds from 0 to ten
    years.
    """

    def __init__(self, delay: float | timedelta, *, max_age: float | timedelta = 86_400.0) -> None:
        self.delay = _seconds(delay)
        self.max_age = _seconds(max_age)
        if not 0 <= self.delay <= LONGEST_DELAY:
            raise ValueError(f"RetryLater(delay={self.delay:g}): a delay is 0 seconds to ten years.")
        self.delay = max(self.delay, SHORTEST_POSTPONEMENT)
        super().__init__(f"retry after {self.delay:g} s")


class Discard(Steering):
    """This handler is done with the event without having handled it; ``reason`` is kept with the delivery."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class DeadLetter(Steering):
    """The delivery is dead at once, whatever attempts are left; ``reason`` is kept with it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
