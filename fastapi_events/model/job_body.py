"""What is declared as a job: a function, or a class with ``run``, that can be called at all."""

from __future__ import annotations

import inspect
from typing import Any, NoReturn

from fastapi_events.errors import InvalidJob
from fastapi_events.model.job import Job


def check_body(function: Any, owner: str) -> None:
    """Raise ``InvalidJob`` for what no attempt could call; ``owner`` is what the errors name."""

    def refuse(problem: str) -> NoReturn:
        raise InvalidJob(f"{owner}: {problem}")

    if isinstance(function, Job):
        refuse(
            "it is a job already. Declare the function itself again, with a name of its own; if every() has made it "
            "one, write @module.every(...) above @module.job(...)."
        )
    if not callable(function):
        refuse(f"{ascii(function)[:80]} is not a function that can be run.")
    called: Any = function
    if inspect.isclass(function):
        called = _run_of(function, owner)
    elif not inspect.isroutine(function):
        called = type(function).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        refuse("has a yield, and so would never run. A job returns its result; a dependency may yield.")


def _run_of(made: type[Any], owner: str) -> Any:
    run = inspect.getattr_static(made, "run", None)
    if not inspect.isfunction(run):
        raise InvalidJob(
            f"{owner}: the class {made.__qualname__} has no method run. Write async def run(self, job: "
            "JobContext[Restock]) in it, or declare a function."
        )
    missing = sorted(getattr(made, "__abstractmethods__", ()))
    if missing:
        raise InvalidJob(
            f"{owner}: the class {made.__qualname__} is abstract ({', '.join(missing)}): no object of it can be made. "
            "Declare a class that has them."
        )
    try:
        inspect.signature(made).bind()
    except TypeError as error:
        raise InvalidJob(
            f"{owner}: the class {made.__qualname__} cannot be made without arguments ({error}), and each attempt "
            "makes an object of it. Give them defaults, or ask for them in run()."
        ) from None
    except ValueError:  # a class that does not tell its parameters
        pass
    return run
