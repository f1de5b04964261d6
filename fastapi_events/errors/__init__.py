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
│   ├── AuditEventTriggerError
│   ├── InvalidJob
│   ├── DuplicateJob
│   ├── DuplicateTrigger
│   ├── InvalidSchedule
│   ├── DuplicateSchedule
│   └── ReservedPoolViolationError
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
├── JobError                    a run that was not started, or that did not end as it was hoped for
│   ├── UnknownJob
│   ├── InvalidInput
│   ├── InvalidResult
│   ├── JobCollisionError
│   ├── RunNotFound
│   ├── RunConflict
│   ├── StepError               steps that contradict those of an earlier attempt
│   │   ├── DuplicateStep
│   │   ├── UnstableSteps
│   │   └── CyclicSpawn
│   ├── JobFailed
│   ├── JobCanceled
│   ├── JobTimedOut
│   ├── WaitTimeout
│   └── ResultTimeout
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

from fastapi_events.errors.jobs import (
    CyclicSpawn,
    DuplicateStep,
    InvalidInput,
    InvalidResult,
    JobCanceled,
    JobCollisionError,
    JobError,
    JobFailed,
    JobTimedOut,
    ResultTimeout,
    RunConflict,
    RunNotFound,
    StepError,
    UnknownJob,
    UnstableSteps,
    WaitTimeout,
)
from fastapi_events.errors.root import EventsError
from fastapi_events.errors.steering import (
    LONGEST_DELAY,
    SHORTEST_POSTPONEMENT,
    DeadLetter,
    Discard,
    RetryLater,
    Steering,
)

__all__ = [
    "LONGEST_DELAY", "SHORTEST_POSTPONEMENT", "AuditEventTriggerError", "BulkChangeRefused", "ContradictoryOptions",
    "CyclicSpawn", "DeadLetter", "DeclarationError", "DetachedPublish", "Discard", "DuplicateEvent", "DuplicateHandler",
    "DuplicateJob", "DuplicateSchedule", "DuplicateStep", "DuplicateTrigger", "DuplicateUpcaster", "EventsError",
    "HandlerSessionMisuse", "InvalidEventName", "InvalidFilter", "InvalidHandler", "InvalidInput", "InvalidJob",
    "InvalidMiddleware", "InvalidPayload", "InvalidResult", "InvalidSchedule", "InvalidUpcaster", "JobCanceled",
    "JobCollisionError", "JobError", "JobFailed", "JobTimedOut", "MiddlewareMisuse", "MissingTenantIdError",
    "MissingUpcaster", "NotFound", "NotInTransaction", "NotOnMemory", "NotStarted", "OperationRefused",
    "OperationUnavailable", "PayloadTooLarge", "PublishError", "ReadingUnavailable", "ReservedPoolViolationError",
    "ResultTimeout", "RetryLater", "RunConflict", "RunNotFound", "SchemaOutOfDate", "SessionClosed", "SettingsError",
    "Steering", "StepError", "TransactionAborted", "UnknownEvent", "UnknownJob", "UnknownOption", "UnstableSteps",
    "WaitTimeout", "WrongDatabase",
]  # fmt: skip


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


class InvalidJob(DeclarationError):
    """A job's signature, options or code ask for something that no run can be given, or that cannot be stored."""


class DuplicateJob(DeclarationError):
    """Two jobs of one application have the same name, or one has the former name of the other."""


class DuplicateTrigger(DeclarationError):
    """Two triggers have the same id, or one has that of a handler."""


class InvalidSchedule(DeclarationError):
    """A schedule would never tick, cannot be read, or gives its job what that does not take."""


class DuplicateSchedule(DeclarationError):
    """Two schedules have the same id."""


class ReservedPoolViolationError(DeclarationError):
    """A job asks for a pool whose name belongs to the lanes of events."""


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
    """A handler, job or step ended the transaction that it was given, or used it after it had returned."""


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
