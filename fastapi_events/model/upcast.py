"""Upcasters: pure functions, each of which lifts a stored payload of one event by one version."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi_events.errors import ContradictoryOptions, DuplicateUpcaster, InvalidUpcaster, MissingUpcaster
from fastapi_events.model.event import Event, EventOptions, options_of

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

_SHOWN = 3
"""How many missing steps a message names."""


@dataclass(frozen=True, slots=True, eq=False)
class Upcaster:
    """One step as declared: from a version of the event ``name`` to the next."""

    name: str
    from_version: int
    function: Upcast
    where: str
    """File and line of the function, for people."""

    def __str__(self) -> str:
        function = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"the upcaster {function} ({self.where}) from version {self.from_version} of {self.name}"


class Upcasters:
    """The steps of an application, by event name and version; raises ``DuplicateUpcaster`` on one declared twice."""

    def __init__(self, steps: Iterable[Upcaster] = ()) -> None:
        self._steps: dict[tuple[str, int], Upcaster] = {}
        for step in steps:
            known = self._steps.setdefault((step.name, step.from_version), step)
            if known is not step:
                raise DuplicateUpcaster(
                    f"Two upcasters lift version {step.from_version} of {step.name!r}: {known.where} and {step.where}. "
                    "Remove one of them."
                )

    def chain(self, name: str, version: int, wanted: EventOptions) -> list[Upcaster] | None:
        """The steps from a stored version to the wanted one; None if there is no way."""
        if not wanted.oldest_version <= version <= wanted.version:
            return None
        steps = [self._steps.get((name, number)) for number in range(version, wanted.version)]
        return [step for step in steps if step is not None] if None not in steps else None

    def check(self, event_class: type[Event], *, handler: str) -> None:
        """Raise ``MissingUpcaster`` unless every version that may be stored can be lifted to that of the class."""
        options = options_of(event_class)
        if options is None:
            return
        older = range(options.oldest_version, options.version)
        missing = [number for number in older if (options.name, number) not in self._steps]
        if missing:
            numbers = ", ".join(map(str, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
            raise MissingUpcaster(
                f"{handler} takes version {options.version} of {options.name!r} ({event_class.__qualname__}), and "
                f"nothing lifts stored events of version {numbers}. Declare @module.upcast({event_class.__qualname__}, "
                f"from_version={missing[0]}) on a function from dict to dict; if no event older than version N is "
                "left, say so on the class: oldest_version=N."
            )


def checked_step(event: Any, from_version: Any, *, module: str) -> str:
    """The name of the event whose payloads are to be lifted; raises for a step that can never be taken."""

    def refuse(problem: str) -> NoReturn:
        raise InvalidUpcaster(f"module {module!r}: upcast() {problem}")

    if not (inspect.isclass(event) and issubclass(event, Event)):
        refuse(
            f"takes an Event class, not {ascii(event)[:80]}. Write @module.upcast(OrderPlaced, from_version=1) with "
            "the newest class of the event."
        )
    shown, options = event.__qualname__, options_of(event)
    if options is None:
        refuse(f"was given {shown}, which is abstract and never stored. Give it the class that has the name=.")
    if type(from_version) is not int or from_version < 1:
        refuse(f"for {shown}: from_version={ascii(from_version)[:80]} is not a whole number from 1 on.")
    if from_version >= options.version:
        refuse(
            f"for {shown}: from_version={from_version}, but the class is version {options.version}: there is nothing "
            "above it to lift to. Give it the version before, or raise the version of the class."
        )
    if from_version < options.oldest_version:
        raise ContradictoryOptions(
            f"module {module!r}: upcast() for {shown}: from_version={from_version}, but the class says "
            f"oldest_version={options.oldest_version}, so that nothing older is read. Drop the upcaster, or lower "
            "oldest_version."
        )
    return options.name


def check_function(function: Any, *, where: str, owner: str) -> None:
    """Raise ``InvalidUpcaster`` for what cannot lift a payload."""

    def refuse(problem: str) -> NoReturn:
        raise InvalidUpcaster(f"{owner} ({where}): {problem}")

    if not callable(function):
        refuse(f"{ascii(function)[:80]} is not a function.")
    called: list[Any] = [function, type(function).__call__]
    if any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in called):
        refuse("an upcaster is a plain def: it is called while a batch is decoded, and must not wait for anything.")
    if any(map(inspect.isgeneratorfunction, called)):
        refuse("a generator yields a payload and returns none. Write return in place of yield.")
    try:
        inspect.signature(function).bind({})
    except TypeError:
        refuse("an upcaster is called with one argument, the stored payload as a dict.")
    except ValueError:
        return  # a builtin that does not tell its parameters
