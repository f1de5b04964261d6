"""What is given as ``middleware=``, checked where it is written."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any, get_args

from fastapi_events.errors import InvalidMiddleware
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.onion import HookName, overrides

HOOKS: tuple[HookName, ...] = get_args(HookName)


def checked_middleware(owner: str, given: Any) -> tuple[Middleware, ...]:
    """The middleware, if each is an object that can work; ``owner`` is what the errors name.

    Raises ``InvalidMiddleware``.
    """
    if isinstance(given, Middleware):
        raise _refused(
            owner, f"middleware= takes a list, not a {_kind(given)}. Write middleware=[{_kind(given)}(...)]."
        )
    if isinstance(given, (str, bytes, type)) or not hasattr(given, "__iter__"):
        raise _refused(owner, f"middleware= takes a list of middleware, not {_shown(given)}. {_hint(given)}")
    found = tuple(given)
    for one in found:
        _check_one(owner, one)
    return found


def _check_one(owner: str, one: Any) -> None:
    if not isinstance(one, Middleware):
        raise _refused(owner, f"middleware=[{_shown(one)}] is not a middleware. {_hint(one)}")
    own = [hook for hook in HOOKS if overrides(one, hook)]
    for hook in own:
        _check_hook(f"{owner}: middleware {_kind(one)}.{hook}()", getattr(one, hook))
    if not own:
        raise _refused(
            owner, f"middleware {_kind(one)} overrides none of publish(), handle() and attempt().{_near(one)}"
        )


def _check_hook(what: str, hook: Any) -> None:
    if inspect.isasyncgenfunction(hook):
        raise InvalidMiddleware(f"{what} has a yield, and so would never run. Write await call_next(context).")
    if not inspect.iscoroutinefunction(hook) and not inspect.iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
        raise InvalidMiddleware(f"{what} is not async. Write async def, and await call_next(context) in it.")
    try:
        inspect.signature(hook).bind(None, None)
    except TypeError as error:
        name = what.rpartition(".")[2].removesuffix("()")
        raise InvalidMiddleware(
            f"{what} cannot take what it is given ({error}). Write async def {name}(self, context, call_next)."
        ) from None
    except ValueError:  # a callable without a readable signature
        return


def _near(one: Middleware) -> str:
    """A method whose name is nearly that of a hook."""
    names = [name for name in dir(type(one)) if not name.startswith("__") and name not in HOOKS]
    for hook in HOOKS:
        near = get_close_matches(hook, names, n=1) or [name for name in names if hook in name]
        if near:
            return f" Did you mean {hook}() by {near[0]}()?"
    return " Override one of them, with (self, context, call_next)."


def _hint(given: Any) -> str:
    if isinstance(given, type) and issubclass(given, Middleware):
        return f"It is a class: write middleware=[{given.__qualname__}(...)], with an object of it."
    return (
        "A middleware is an object of a class derived from fastapi_events.Middleware, with e.g. async def handle(self, "
        "context, call_next)."
    )


def _refused(owner: str, problem: str) -> InvalidMiddleware:
    return InvalidMiddleware(f"{owner}: {problem}")


def _kind(value: object) -> str:
    return type(value).__qualname__


def _shown(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"the function {value.__qualname__}" if inspect.isfunction(value) else ascii(value)[:80]
