"""The class keyword ``emits`` of SQLModel's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlmodel import SQLModel
from sqlmodel.main import SQLModelMetaclass

from fastapi_events.api.emits.declaration import Emits, emits_from
from fastapi_events.errors import DeclarationError
from fastapi_events.model.event import Event


class _EmittingMeta(SQLModelMetaclass):
    """Reads the keyword that SQLModel's own metaclass would drop without a word."""

    if TYPE_CHECKING:  # pyright looks here for the keywords of a class

        def __new__(
            cls,
            name: str,
            bases: tuple[type, ...],
            class_dict: dict[str, Any],
            *,
            emits: Emits | Sequence[type[Event]] = (),
            **kwargs: Any,
        ) -> Any: ...

    def __init__(cls, name: str, bases: tuple[type, ...], class_dict: dict[str, Any], **kwargs: Any) -> None:  # noqa: N805
        given = kwargs.pop("emits", None)
        super().__init__(name, bases, class_dict, **kwargs)
        made: type[Any] = cls
        if given is not None:
            emits_from(name, given)(made)
        elif cls.model_config.get("table") and not any(base.model_config.get("table") for base in _models(bases)):
            raise DeclarationError(
                f"class {name} is a table with EmitsEvents and says no events. Write e.g. class {name}("
                "EmitsEvents, SQLModel, table=True, emits=(ContactCreated, ContactUpdated, ContactDeleted))."
            )


class EmitsEvents(SQLModel, metaclass=_EmittingMeta):
    """A base of SQLModel tables whose rows publish events by themselves, in the transaction that changes them.

    Example::

        class Contact(EmitsEvents, SQLModel, table=True, emits=(ContactCreated, ContactUpdated, ContactDeleted)):
            id: UUID = Field(default_factory=uuid4, primary_key=True)
            email: str

    ``emits`` takes a tuple of events whose names end in ``.created``, ``.updated`` and ``.deleted``, or
    ``emits(created=…, updated=…, deleted=…, map=…, ignore=…)``. Raises ``DeclarationError`` or a kind of it when the
    class is made. Without this base SQLModel ignores the keyword.
    """


def _models(bases: tuple[type, ...]) -> list[type[SQLModel]]:
    return [base for base in bases if issubclass(base, SQLModel)]
