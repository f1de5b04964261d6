"""What a handler asks for in its signature: read once, checked when modules are assembled, filled for each delivery.

A parameter is the event (the first one), something the library gives by type (``HandlerSession``, ``EventPublisher``,
``Delivery``), a dependency marked with ``Depends`` (FastAPI's or fast-depends': both are known by their attributes, so
that neither needs to be imported), or it has a default. Dependencies may be nested, sync or async, and may ``yield``.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from fastapi_events.errors import InvalidHandler
from fastapi_events.model.delivery import Delivery

_TRANSACTIONS = {"handler": "delivery", "job": "attempt", "step": "step"}
Giver = Callable[["Needs"], Any]
DELIVERIES: Any = list[Delivery]
"""What a batch handler asks for in place of a ``Delivery``."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """A callable that makes a value, with what it needs itself."""

    function: Callable[..., Any]
    parameters: tuple[tuple[str, Source], ...]
    cached: bool
    gives: tuple[Any, ...] = ()
    """The annotations that say what it gives: that of the parameter which takes it, and its own."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value that the library has, asked for by its type."""

    type: type[Any]


Source = Dependency | Given


@dataclass(frozen=True, slots=True)
class Signature:
    """A handler's parameters beside the event, and every type it or a dependency of it wants from the library."""

    parameters: tuple[tuple[str, Source], ...]
    wants: frozenset[type[Any]]


@dataclass(slots=True)
class Needs:
    """What can be given for one delivery: values by type, and dependencies made already."""

    values: Mapping[type[Any], Any]
    stack: AsyncExitStack
    made: dict[Callable[..., Any], Any] = field(default_factory=dict[Callable[..., Any], Any])


def read_signature(function: Callable[..., Any], known: frozenset[type[Any]], *, owner: str) -> Signature:
    """Read a handler's signature; raises ``InvalidHandler`` naming handler and parameter for what cannot be given."""
    wants: set[type[Any]] = set()
    parameters = list(_parameters_of(function, owner))
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise InvalidHandler(f"{owner}: a handler's first parameter is the event, e.g. async def handle(event: X).")
    sources = _sources(function, parameters[1:], known, wants, owner=owner, path=())
    first = _hints(function, owner).get(parameters[0].name, parameters[0].annotation)
    if isinstance(first, type) and first in known:
        raise InvalidHandler(
            f"{owner}: its first parameter, {parameters[0].name!r}, is annotated {first.__name__}, but is given the "
            "event. Put the event first, e.g. async def handle(event: X, ...)."
        )
    if _yields(function):
        raise InvalidHandler(
            f"{owner}: has a yield, and so would never run. A handler returns; a dependency may yield."
        )
    return Signature(sources, frozenset(wants))


def read_further(function: Callable[..., Any], count: int, known: frozenset[type[Any]], *, owner: str) -> Signature:
    """As ``read_signature``, of a function that gets ``count`` arguments by position: what it asks for beside them."""
    wants: set[type[Any]] = set()
    sources = _sources(function, list(_parameters_of(function, owner))[count:], known, wants, owner=owner, path=())
    return Signature(sources, frozenset(wants))


def gives_one_of(annotation: Any, kinds: tuple[type[Any], ...]) -> bool:
    """Whether an annotation names one of these classes: as it is, in a union, ``Annotated`` or a generator's."""
    if isinstance(annotation, type):
        return issubclass(annotation, kinds)
    inner = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return any(gives_one_of(one, kinds) for one in inner)
    return bool(inner) and gives_one_of(inner[0], kinds)  # Annotated[Session, ...], AsyncIterator[Session]


async def fill(signature: Signature, needs: Needs) -> dict[str, Any]:
    """The keyword arguments for one call."""
    return {name: await _value(source, needs) for name, source in signature.parameters}


async def _value(source: Source, needs: Needs) -> Any:
    if isinstance(source, Given):
        return needs.values[source.type]
    if source.cached and source.function in needs.made:
        return needs.made[source.function]
    arguments = {name: await _value(inner, needs) for name, inner in source.parameters}
    value = await _call(source.function, arguments, needs.stack)
    needs.made[source.function] = value
    return value


async def _call(function: Callable[..., Any], arguments: dict[str, Any], stack: AsyncExitStack) -> Any:
    target: Any = function
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        target = type(function).__call__
    if inspect.isasyncgenfunction(target):
        return await stack.enter_async_context(asynccontextmanager(function)(**arguments))
    if inspect.isgeneratorfunction(target):
        return stack.enter_context(contextmanager(function)(**arguments))
    value = function(**arguments)
    return await value if inspect.isawaitable(value) else value


def _sources(
    function: Callable[..., Any],
    parameters: list[inspect.Parameter],
    known: frozenset[type[Any]],
    wants: set[type[Any]],
    *,
    owner: str,
    path: tuple[Callable[..., Any], ...],
) -> tuple[tuple[str, Source], ...]:
    hints = _hints(function, owner)
    found: list[tuple[str, Source]] = []
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        annotation = hints.get(parameter.name, parameter.annotation)
        source = _source(parameter, annotation, known, wants, owner=owner, path=path)
        if source is not None:
            found.append((parameter.name, source))
    return tuple(found)


def _source(
    parameter: inspect.Parameter,
    annotation: Any,
    known: frozenset[type[Any]],
    wants: set[type[Any]],
    *,
    owner: str,
    path: tuple[Callable[..., Any], ...],
) -> Source | None:
    mark = _mark_of(parameter, annotation)
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if mark is not None:
        return _dependency(mark, plain, known, wants, owner=f"{owner}, parameter {parameter.name!r}", path=path)
    if (isinstance(plain, type) or plain == DELIVERIES) and plain in known:
        wants.add(plain)
        return Given(plain)
    if parameter.default is not inspect.Parameter.empty and not _is_of_request(parameter.default):
        return None
    unannotated = plain is inspect.Parameter.empty
    shown = "without annotation" if unannotated else getattr(plain, "__name__", None) or str(plain)
    hint = " Did you mean HandlerSession?" if "Session" in shown else ""
    if plain is Delivery:
        hint = " With batch= there is one for each event: take list[Delivery]."
    names = ", ".join(sorted("list[Delivery]" if kind == DELIVERIES else kind.__name__ for kind in known))
    noun = _noun(owner)
    if noun == "step" and not path:
        raise InvalidHandler(
            f"{owner}: its function takes {parameter.name!r} ({shown}) too, which was not passed. Write "
            f"job.step(id, function, ..., {parameter.name}); by their types it is given {names}, and what Depends(...) "
            f"makes.{hint}"
        )
    raise InvalidHandler(
        f"{owner}: parameter {parameter.name!r} ({shown}) cannot be given to a {noun}. There is no request here: a "
        f"parameter is one of {names}, a Depends(...), or has a default.{hint}"
    )


def _noun(owner: str) -> str:
    """What it is whose parameters are read: what owns them says so."""
    return "step" if ", step " in owner else "job" if owner.startswith("job ") else "handler"


def _dependency(
    mark: Any,
    plain: Any,
    known: frozenset[type[Any]],
    wants: set[type[Any]],
    *,
    owner: str,
    path: tuple[Callable[..., Any], ...],
) -> Dependency:
    function = mark.dependency if mark.dependency is not None else plain
    if not callable(function):
        raise InvalidHandler(f"{owner}: Depends() without a callable. Name the function, e.g. Depends(get_settings).")
    instead = getattr(function, "fastapi_events_in_handlers", None)
    if isinstance(instead, str):
        raise InvalidHandler(
            f"{owner}: {getattr(plain, '__name__', plain)} comes from a dependency of endpoints, which needs a "
            f"request. In a {_noun(owner)} take {instead}, without Depends: its transaction is that of the "
            f"{_TRANSACTIONS[_noun(owner)]}."
        )
    if function in path:
        raise InvalidHandler(f"{owner}: the dependency {_name(function)} depends on itself.")
    inner = f"{owner} → {_name(function)}"
    parameters = list(_parameters_of(function, inner))
    sources = _sources(function, parameters, known, wants, owner=inner, path=(*path, function))
    gives = (plain, _hints(function, inner).get("return"))
    return Dependency(function, sources, bool(getattr(mark, "use_cache", True)), gives)


def _yields(function: Callable[..., Any]) -> bool:
    target: Any = function if inspect.isroutine(function) else type(function).__call__
    return inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)


def _mark_of(parameter: inspect.Parameter, annotation: Any) -> Any:
    """A ``Depends`` in the annotation or as the default, told by its attributes."""
    extras = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    for candidate in (parameter.default, *reversed(extras)):
        if hasattr(candidate, "dependency") and hasattr(candidate, "use_cache"):
            return candidate
    return None


def _is_of_request(default: Any) -> bool:
    """Whether a default is FastAPI's ``Query()``, ``Header()``, …: without a request it is no value at all."""
    return any(base.__module__ == "fastapi.params" for base in type(default).__mro__)


def _parameters_of(function: Callable[..., Any], owner: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise InvalidHandler(f"{owner}: the signature of {_name(function)} cannot be read ({error}).") from error


def _hints(function: Callable[..., Any], owner: str) -> dict[str, Any]:
    target: Any = function
    if inspect.isclass(function):
        target = function.__init__
    elif not inspect.isroutine(function):
        target = type(function).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise InvalidHandler(
            f"{owner}: an annotation cannot be resolved ({error}). Import the name at run time, outside TYPE_CHECKING."
        ) from error
    except TypeError:
        return {}


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


Call = Callable[..., Awaitable[Any]]
