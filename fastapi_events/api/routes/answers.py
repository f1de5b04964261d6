"""The JSON API's own shapes: readings with their content opened up, and without secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.body import Body
from fastapi_events.api.dead_letter_actions import MAX_IDS, MAX_REASON, Selection, matching
from fastapi_events.api.observe.filters import MAX_LENGTH
from fastapi_events.api.observe.views import (
    ActionPage,
    EventDetail,
    EventSummary,
    HandlerDelivery,
    View,
)
from fastapi_events.api.redaction import Redactor, without_secrets


class EventAnswer(EventSummary):
    """One event. ``payload`` is null, and ``payload_visible`` false, without the permission ``view_payload``.

    ``hidden_secrets`` counts values that are shown to nobody. ``payload_text`` is the beginning of a payload that
    cannot be read as JSON. A number that a float cannot hold exactly is a string. ``other_versions`` are the
    payloads that the event carries in other versions, by version.
    """

    partition: int
    key: str | None
    depth: int
    payload_visible: bool
    payload: Any
    payload_text: str | None
    other_versions: dict[str, Any]
    headers: Any
    hidden_secrets: int
    deliveries: tuple[HandlerDelivery, ...]
    conversation: tuple[EventSummary, ...]


class ActionAnswer(View):
    """What an operator did."""

    id: UUID
    action: str
    actor: str
    target: str
    details: Any
    acted_at: datetime


class ActionsAnswer(View):
    """Operators' actions, newest first; ``older`` is the cursor of the next page."""

    actions: tuple[ActionAnswer, ...]
    older: str | None


class ChangedAnswer(View):
    """Of ``asked`` dead letters, ``changed`` were still dead and have been acted on."""

    asked: int
    changed: int


class Cancellation(Body):
    """A scheduled event by its id, and why it is cancelled."""

    id: UUID
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


class CancelledAnswer(View):
    """Whether the event was scheduled, and is not any more."""

    cancelled: bool


class DeadLetterSelection(Body):
    """Either ``ids``, or a ``filter`` with ``cut_off`` and ``expected`` as the list that was looked at gave them."""

    ids: Annotated[list[UUID], Field(max_length=MAX_IDS)] | None = None
    filter: Annotated[str, Field(max_length=MAX_LENGTH)] | None = None
    cut_off: datetime | None = None
    expected: Annotated[int, Field(ge=1, le=10_000)] | None = None
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give either ids, or filter with cut_off and expected")
        if self.filter is not None and (self.cut_off is None or self.expected is None):
            raise ValueError("a filter needs cut_off and expected, as the list of dead letters gave them")
        return self

    def selection(self) -> Selection:
        """What is to be acted on."""
        if self.ids is not None:
            return self.ids
        assert self.filter is not None and self.cut_off is not None and self.expected is not None  # noqa: S101, PT018
        return matching(self.filter, self.cut_off, self.expected)


def event_answer(event: EventDetail, redactor: Redactor, actor: Actor) -> EventAnswer:
    """An event as this actor may see it."""
    visible = actor.may(Permission.view_payload)
    shown = redactor.payload(event.name, event.payload)
    headers = redactor.headers(event.headers)
    others = redactor.other_versions(event.name, event.other_versions)
    fields = without_secrets(event).model_dump(exclude={"payload", "other_versions", "headers"})
    return EventAnswer.model_validate(
        fields
        | {
            "payload_visible": visible,
            "payload": shown.value if visible else None,
            "payload_text": shown.text if visible else None,
            "other_versions": {version: other.value for version, other in others.items()} if visible else {},
            "headers": headers.value if visible else None,
            "hidden_secrets": shown.hidden + headers.hidden + sum(other.hidden for other in others.values()),
        }
    )


def actions_answer(page: ActionPage, redactor: Redactor) -> ActionsAnswer:
    """Operators' actions with their details opened up."""
    actions = [action.model_dump() | {"details": redactor.headers(action.details).value} for action in page.actions]
    return ActionsAnswer.model_validate({"actions": actions, "older": page.older})
