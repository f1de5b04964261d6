"""Values of any type on their way in and out as JSON, under the rules of payloads: inputs and results of jobs."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from fastapi_events.errors import InvalidPayload, PayloadTooLarge
from fastapi_events.model.payload import check_json_value, first_problem, is_suspicious
from fastapi_events.model.secrets import holds_secret, place_in


def encode_value(
    value: Any, adapter: TypeAdapter[Any], kind: Any, *, what: str, owner: str, max_size: int | None
) -> str:
    """The value as JSON text of at most ``max_size`` bytes, which its type can be read back from.

    ``what`` it is of ``owner`` is what errors name. Raises ``InvalidPayload`` (with the path inside the value) or
    ``PayloadTooLarge``.
    """
    try:
        encoded: bytes = adapter.serializer.to_json(value, by_alias=True, warnings=False)
    except (PydanticSerializationError, UnicodeEncodeError, ValueError, RecursionError) as error:
        check_json_value(_as_python(value, adapter), owner=f"{owner}: {what}")
        raise InvalidPayload(f"{owner}: the {what} cannot be written as JSON: {_first_line(error)}") from error
    if max_size is not None and len(encoded) > max_size:
        raise PayloadTooLarge(
            f"{owner}: the {what} has {len(encoded):,} bytes; max_payload_size is {max_size:,}. Store large content "
            "elsewhere and pass a reference to it, or raise EVENTS_MAX_PAYLOAD_SIZE."
        )
    if not (value is None and encoded == b"null") and is_suspicious(encoded):
        check_json_value(_as_python(value, adapter), owner=f"{owner}: {what}")
    try:
        adapter.validator.validate_json(encoded, by_alias=True, by_name=True)
    except ValidationError as error:
        path, problem = first_problem(error)
        raise InvalidPayload(f"{owner}: {what} {path}: {problem}", path=path) from _shown(error, kind)
    return encoded.decode()


def decode_value(
    text: str | bytes, adapter: TypeAdapter[Any], kind: Any, *, what: str, owner: str, stored: bool = True
) -> Any:  # fmt: skip
    """The value that was ``stored`` as this text, or is just given; raises ``InvalidPayload`` if its type does not take
    it (any more)."""
    try:
        return adapter.validator.validate_json(text, by_alias=True, by_name=True)
    except ValidationError as error:
        path, problem = first_problem(error)
        if stored:
            text = (
                f"{owner}: the stored {what} is not what the job takes or gives now: {path}: {problem}. Give a field "
                "that is new a default, or correct what is stored."
            )
        else:
            text = f"{owner}: the {what} is not what the job takes: {path}: {problem}. Correct what is given."
        raise InvalidPayload(text, path=path) from _shown(error, kind)


def given_another(value: object, kind: Any) -> str | None:
    """What is wrong with an input that is no object of the class that it is to be; None for other kinds of types."""
    if type(value) is kind:
        return None
    if kind is type(None):
        return None if value is None else f"takes no input, and was given {_article(value)}. Start it without."
    if not _has_objects(kind) or isinstance(value, kind):
        return None
    return f"takes {kind.__qualname__}, and was given {_article(value)}. Pass {kind.__qualname__}(...)."


def _has_objects(kind: Any) -> bool:
    """Whether its values are objects of it: a model's or a dataclass's, not those of a union or of plain values."""
    return inspect.isclass(kind) and not get_origin(kind) and (_is_model(kind) or dataclasses.is_dataclass(kind))


def _is_model(kind: Any) -> bool:
    return issubclass(kind, BaseModel)


def _article(value: object) -> str:
    return "None" if value is None else f"an object of {type(value).__qualname__}"


def _as_python(value: Any, adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.dump_python(value, mode="python", by_alias=True, warnings=False)
    except (PydanticSerializationError, ValueError, RecursionError):
        return value


def _shown(error: ValidationError, kind: Any) -> ValidationError | None:
    """The cause, unless its text would quote a secret."""
    return None if holds_secret(place_in(kind)) else error


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:300]
