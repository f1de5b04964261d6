"""Payloads on their way in: serialised once, and refused before any SQL where PostgreSQL or Python could not read
them back.

jsonb refuses NUL and lone surrogates (the statement fails, and with it the caller's transaction) and stores numbers
and nesting that Python cannot decode again; both are found here, with the path inside the payload.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from fastapi_events.errors import InvalidPayload, PayloadTooLarge
from fastapi_events.model.secrets import holds_secret

MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 4300  # sys.int_info.default_max_str_digits: more cannot be read back by json.loads
_LONG_NUMBER = re.compile(rb"[0-9]{1000}")


def encode_payload(event: BaseModel, *, owner: str, max_size: int, validate: bool = True) -> str:
    """Serialise an event to JSON text of at most ``max_size`` bytes.

    ``validate`` runs the model's own validation again, which finds what ``model_construct`` or assignment let in.
    Raises ``InvalidPayload`` (with the path inside the payload) or ``PayloadTooLarge``.
    """
    try:
        encoded = event.__pydantic_serializer__.to_json(event, by_alias=True, warnings=False)
    except (PydanticSerializationError, UnicodeEncodeError, ValueError, RecursionError) as error:
        _find_problem(_as_python(event), owner)
        raise InvalidPayload(f"{owner}: the payload cannot be written as JSON: {_first_line(error)}") from error
    if len(encoded) > max_size:
        raise PayloadTooLarge(
            f"{owner}: the payload has {len(encoded):,} bytes; max_payload_size is {max_size:,}. Store large content "
            "elsewhere and publish a reference to it, or raise EVENTS_MAX_PAYLOAD_SIZE."
        )
    if is_suspicious(encoded):
        _find_problem(_as_python(event), owner)
    if validate:
        _validate(event, encoded, owner)
    return encoded.decode()


def encode_raw(payload: Any, *, owner: str, max_size: int) -> str:
    """Serialise a payload without a class (plain JSON values), under the same rules as ``encode_payload``.

    Names in objects are strings: another key would be turned into one, and might meet one that is there already.
    """
    _find_problem(payload, owner, names_only=True)
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"{owner}: the payload cannot be written as JSON: {_first_line(error)}") from error
    size = len(text.encode())
    if size > max_size:
        raise PayloadTooLarge(f"{owner}: the payload has {size:,} bytes; max_payload_size is {max_size:,}.")
    return text


def exact_number(text: str) -> float | Decimal:
    """A float, or a decimal where a float would lose digits: what ``json.loads`` takes as ``parse_float``."""
    number, exact = float(text), Decimal(text)
    return number if Decimal(repr(number)) == exact else exact


def check_json_value(value: Any, *, owner: str) -> None:
    """Raise ``InvalidPayload`` if ``value`` holds something that jsonb or Python cannot store and read back."""
    _find_problem(value, owner)


def checked_text(text: object, what: str, owner: str) -> str:
    """A short text of the envelope, or ``InvalidPayload`` that names it."""
    if not isinstance(text, str):
        raise InvalidPayload(
            f"{owner}: {what}={ascii(text)[:80]} is not a string. Pass str(...) of it.", path=f"$.{what}"
        )
    if not text.isascii() or "\x00" in text:
        check_json_value(text, owner=f"{owner}: {what}")
    if len(text) > 500:
        raise InvalidPayload(
            f"{owner}: {what} has {len(text)} characters; 500 are the most. Use a shorter identifier.", path=f"$.{what}"
        )
    return text


def is_suspicious(encoded: bytes) -> bool:
    """Whether the text may hide something hostile; false for nearly all payloads, at the price of a few memory scans.

    NUL is written as an escape, NaN and infinities as null, and only a long text can hold a number too long.
    """
    return (
        (b"\\" in encoded and b"\\u" in encoded)
        or (b"ull" in encoded and b"null" in encoded)  # a long search where there is an n everywhere
        or encoded.count(b"{") + encoded.count(b"[") > MAX_DEPTH
        or (len(encoded) > 3000 and _LONG_NUMBER.search(encoded) is not None)
    )


def _validate(event: BaseModel, encoded: bytes, owner: str) -> None:
    try:
        type(event).__pydantic_validator__.validate_json(encoded, by_alias=True, by_name=True)
    except ValidationError as error:
        path, problem = first_problem(error)
        raise InvalidPayload(
            f"{owner}: {path}: {problem}. A handler could not read this payload back; was it made with "
            "model_construct()?",
            path=path,
        ) from (None if holds_secret((type(event),)) else error)  # whose text quotes what it was given


def first_problem(error: ValidationError) -> tuple[str, str]:
    """The path of the first thing that is wrong, and what is wrong there; without the value, which may be secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    return path, f"{first['msg']} ({error.error_count()} problem(s) in all)"


def _as_python(event: BaseModel) -> Any:
    try:
        return event.model_dump(mode="python", by_alias=True, warnings=False)
    except (PydanticSerializationError, ValueError, RecursionError):
        return dict(event)


def _find_problem(value: Any, owner: str, *, names_only: bool = False) -> None:
    """Walk the payload without recursion and raise for the first place that cannot be stored."""
    stack: list[tuple[Any, str, int]] = [(value, "$", 0)]
    while stack:
        item, path, depth = stack.pop()
        problem = _problem_of(item, depth)
        if problem:
            raise InvalidPayload(f"{owner}: {path} {problem}", path=path)
        stack.extend(_inside(item, path, depth + 1, owner, names_only=names_only))


def _inside(item: Any, path: str, depth: int, owner: str, *, names_only: bool) -> Iterator[tuple[Any, str, int]]:
    """What a value holds, each part with its path; raises for keys that cannot be stored."""
    if isinstance(item, BaseModel):
        item = dict(item)
    untyped: Any = item
    if isinstance(item, dict):
        for key, inner in untyped.items():
            problem = _key_problem(key, depth, names_only=names_only)
            if problem:
                shown = ascii(key)[:80]
                raise InvalidPayload(f"{owner}: {path}, key {shown} {problem}", path=f"{path}[{shown}]")
            yield inner, f"{path}.{key}", depth
    elif isinstance(item, (list, tuple, set, frozenset)):
        for index, inner in enumerate(untyped):
            yield inner, f"{path}[{index}]", depth


def _key_problem(key: object, depth: int, *, names_only: bool) -> str | None:
    if isinstance(key, str):
        return _problem_of(key, depth)
    return (
        f"is a {type(key).__name__}; names in a JSON object are strings. Pass str(...) of it." if names_only else None
    )


def _problem_of(item: Any, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH} levels. Flatten the payload."
    if isinstance(item, str):
        return _text_problem(item)
    if isinstance(item, float) and not math.isfinite(item):
        return f"is {item!r}, which JSON does not have. Use None or a string."
    if isinstance(item, int) and not isinstance(item, bool) and abs(item).bit_length() > MAX_INTEGER_DIGITS * 3:
        return (
            f"is an integer of more than {MAX_INTEGER_DIGITS * 3} bits, which cannot be read back. Send it as a string."
        )
    return None


def _text_problem(text: str) -> str | None:
    if "\x00" in text:
        return "holds a NUL character (U+0000), which PostgreSQL cannot store. Remove it."
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate, which is no valid Unicode text. Decode the input properly first."
    return None


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:300]
