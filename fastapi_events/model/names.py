"""Names of events: ``module.resource.event``, with ``module:resource.event`` accepted as an alias form."""

from __future__ import annotations

import re

from fastapi_events.errors import InvalidEventName

MAX_NAME_LENGTH = 200
_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){1,4}\Z")
_PATTERN_PART = re.compile(r"(?:\*|[a-z][a-z0-9_]*)\Z")


def canonical_name(name: str, *, owner: str) -> str:
    """Return ``name`` in its dotted form.

    ``owner`` is what the error names. Raises ``InvalidEventName`` unless the name has two to five lower-case
    parts of letters, digits and underscores, each beginning with a letter, 200 characters at most in all.
    """
    dotted = str(name).replace(":", ".", 1)
    if len(dotted) <= MAX_NAME_LENGTH and _NAME.match(dotted):
        return dotted
    raise InvalidEventName(
        f"{owner}: the event name {_shown(name)} is not valid. A name is 'module.resource.event': two to five "
        "lower-case parts of letters, digits and underscores, joined by dots, e.g. 'orders.order.placed'."
    )


def resource_part(name: str) -> str | None:
    """The middle part of a three-part name (``order`` in ``orders.order.placed``), else None."""
    parts = name.split(".")
    return parts[1] if len(parts) == 3 else None


def is_pattern(name: str) -> bool:
    """Whether ``name`` is a wildcard such as ``orders.*`` rather than one event's name."""
    return "*" in name


def check_pattern(pattern: str, *, owner: str) -> str:
    """Return the wildcard in dotted form, or raise ``InvalidEventName``; a trailing ``*`` matches any rest."""
    dotted = pattern.replace(":", ".", 1)
    parts = dotted.split(".")
    if len(dotted) <= MAX_NAME_LENGTH and parts and all(_PATTERN_PART.match(part) for part in parts):
        return dotted
    raise InvalidEventName(
        f"{owner}: the wildcard {_shown(pattern)} is not valid. Each part is a name or '*', e.g. 'orders.*' or "
        "'orders.order.*'."
    )


def matches(pattern: str, name: str) -> bool:
    """Whether the event ``name`` is one that ``pattern`` selects, part by part; a last ``*`` takes one part or more."""
    if not is_pattern(pattern):
        return pattern == name
    wanted, given = pattern.split("."), name.split(".")
    if len(given) < len(wanted) or (len(given) > len(wanted) and wanted[-1] != "*"):
        return False
    return all(want in ("*", part) for want, part in zip(wanted, given, strict=False))


def regular_expression(pattern: str) -> str:
    """A checked wildcard as a POSIX regular expression: ``orders.*.placed`` becomes ``^orders[.][^.]+[.]placed$``."""
    *first, last = pattern.split(".")
    parts = ["[^.]+" if part == "*" else part for part in first]
    return f"^{'[.]'.join([*parts, '.+' if last == '*' else last])}$"


def one_slip_apart(first: str, second: str) -> bool:
    """Whether two names differ by a slip of the pen: one letter missing, added or wrong, or two neighbours swapped.

    Numbers are no slips: ``line_1`` and ``line_2`` are two things.
    """
    shorter = min(len(first), len(second))
    start = next((at for at, (one, two) in enumerate(zip(first, second, strict=False)) if one != two), shorter)
    rest, other = first[start:], second[start:]
    if rest == other or any(sign.isdigit() for sign in rest[:1] + other[:1]):
        return False
    swapped = rest[:2] == other[1::-1] and rest[2:] == other[2:]
    return swapped or rest[1:] == other[1:] or rest[1:] == other or rest == other[1:]


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
