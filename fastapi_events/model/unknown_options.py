"""What is said of a keyword that nothing takes: a misspelt one must not pass as one that was left out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, ParamSpec, TypeVar

from fastapi_events.errors import DeclarationError, UnknownOption

P = ParamSpec("P")
R = TypeVar("R")
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_known(given: Iterable[str], known: Sequence[str], *, owner: str) -> None:
    """Raise ``UnknownOption`` for what ``owner`` does not take, naming the near miss."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known)
            # By letters alone, "retries" would be nearer to "triggers" than to "retry".
            best = max(near, key=lambda one: _shared(one, name), default=None)
            hint = f"Did you mean {best!r}? " if best else ""
            raise UnknownOption(f"{owner} has no option {name!r}. {hint}The options are {', '.join(known)}.")


class WrongCall(DeclarationError, TypeError):
    """Arguments that a function does not take, or too few. A ``TypeError`` too, which it is to Python."""


def _problem(signature: inspect.Signature, args: tuple[Any, ...], keywords: dict[str, Any]) -> str | None:
    """What is wrong with the arguments; None if that is not it."""
    try:
        signature.bind(*args, **keywords)
    except TypeError as error:
        return str(error)
    return None


def _shown(parameters: Iterable[inspect.Parameter]) -> str:
    """Names and defaults, without annotations: ``(limit, per, key=None)``."""
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in parameters if one.name != "self"]
    return str(inspect.Signature(plain))


def _shared(one: str, other: str) -> int:
    """How many letters two names begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def names_unknown(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function, or the ``__init__`` of a class, so that a misspelt keyword raises ``UnknownOption``.

    Python's ``TypeError`` names neither the options nor, before 3.13, the near miss. Too few or too many arguments are
    told with what there are. Checkers see the same signature.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    known = [one.name for one in parameters if one.kind in _BY_KEYWORD and one.name != "self"]
    owner = f"{function.__qualname__.removesuffix('.__init__')}()"

    @functools.wraps(function)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        check_known(keywords, known, owner=owner)
        try:
            return function(*args, **keywords)
        except TypeError as error:
            problem = _problem(signature, args, keywords)
            if problem is None:
                raise
            raise WrongCall(f"{owner}: {problem}. It is {owner[:-2]}{_shown(parameters)}.") from error

    return checked
