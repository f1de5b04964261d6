"""Middleware that writes down what it sees."""

from fastapi_events import (
    AttemptContext,
    AttemptNext,
    AttemptOutcome,
    HandleContext,
    HandleNext,
    Middleware,
    PublishContext,
    PublishNext,
)


class Noting(Middleware):
    """Notes its name before and after each of the three."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def publish(self, context: PublishContext, call_next: PublishNext) -> None:
        self.notes.append(f"{self.name} publishes")
        await call_next(context)
        self.notes.append(f"{self.name} published")

    async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
        self.notes.append(f"{self.name} handles")
        await call_next(context)
        self.notes.append(f"{self.name} handled")

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        self.notes.append(f"{self.name} attempts")
        await call_next(context)
        self.notes.append(f"{self.name} attempted")


class Outcomes(Middleware):
    """Keeps the outcome of every attempt, with what was known of it."""

    def __init__(self) -> None:
        self.seen: list[tuple[AttemptContext, AttemptOutcome]] = []

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        self.seen.append((context, await call_next(context)))

    @property
    def kinds(self) -> list[str]:
        return [outcome.kind for _, outcome in self.seen]


class Headers(Middleware):
    """Adds a header to what is published."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value

    async def publish(self, context: PublishContext, call_next: PublishNext) -> None:
        await call_next(context.replace(headers={**context.headers, self.name: self.value}))
