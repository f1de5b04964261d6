"""Finding every problem of a set of settings, and saying what is wrong with each and how to mend it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fastapi_events.errors import SettingsError
from fastapi_events.settings.contradictions import CONTRADICTIONS

PREFIX = "EVENTS_"
_SECRET = {"database_url", "listen_database_url"}
_ALIASES = {"db_schema": "schema"}
# Kubernetes sets these in every pod beside a service that is called "events".
_SERVICE_LINK = re.compile(r"EVENTS_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_\w+)?)")

_KEYWORD = "keyword "

SettingsT = TypeVar("SettingsT", bound=BaseModel)


def checked(cls: type[SettingsT], values: Mapping[str, Any], validate: Callable[[Any], SettingsT]) -> SettingsT:
    """The validated settings, or one ``SettingsError`` that lists everything wrong with them and the environment."""
    fields = _fields_by_key(cls)
    problems = [*_unknown_variables(fields), *_unknown_keywords(values, fields)]
    wrong: set[str] = set()
    try:
        settings = validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
        wrong = {fields[str(detail["loc"][0])] for detail in details}
        problems += _described(details, fields)
        # With the wrong ones at their defaults, contradictions between the others can be seen in the same go.
        settings = validate({key: value for key, value in values.items() if fields.get(key) not in wrong})
    problems += [
        _line(rule.setting, rule.text(settings))
        for rule in CONTRADICTIONS
        if not wrong.intersection(rule.concerns) and not rule.holds(settings)
    ]
    if problems:
        # The cause would print what was given, passwords included.
        raise SettingsError(_message(problems)) from None
    return settings


def by_key(cls: type[BaseModel], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """``keywords`` by the keys that validation knows; those that name no setting are marked, to be reported."""
    keys = {_ALIASES.get(name, name): key for key, name in _fields_by_key(cls).items()}
    return {keys.get(keyword, _KEYWORD + keyword): value for keyword, value in keywords.items()}


def _message(problems: list[str]) -> str:
    count = "A setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
    return "\n".join([f"{count}:", *(f"- {problem}" for problem in problems)])


def variable_of(setting: str) -> str:
    """The environment variable of a setting."""
    return "EVENTS_DEV" if setting == "development" else PREFIX + _ALIASES.get(setting, setting).upper()


def _fields_by_key(cls: type[BaseModel]) -> dict[str, str]:
    """Field names by the keys under which a value may arrive."""
    keys = {name: name for name in cls.model_fields}
    for name, info in cls.model_fields.items():
        if isinstance(info.validation_alias, str):
            del keys[name]
            keys[info.validation_alias] = name
    return keys


def _line(setting: str, text: str) -> str:
    return f"{_ALIASES.get(setting, setting)} ({variable_of(setting)}): {text}"


def _unknown_variables(fields: Mapping[str, str]) -> Iterator[str]:
    known = {variable_of(name) for name in fields.values()}
    given = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    for variable in sorted(given - known):
        if not _SERVICE_LINK.fullmatch(variable):
            mend = _suggestion(variable, known) or "unset it, or give it a name without this prefix."
            yield f"{variable}: there is no such setting; {mend}"


def _unknown_keywords(values: Mapping[str, Any], fields: Mapping[str, str]) -> Iterator[str]:
    known = {_ALIASES.get(name, name) for name in fields.values()}
    for keyword in sorted(key.removeprefix(_KEYWORD) for key in values if key.startswith(_KEYWORD)):
        name = keyword.lower().removeprefix(PREFIX.lower())
        mend = _suggestion(_ALIASES.get(name, name), known) or "remove it."
        yield f"{keyword}: there is no such setting; {mend}"


def _suggestion(name: str, known: set[str]) -> str | None:
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None


def _described(details: list[ErrorDetails], fields: Mapping[str, str]) -> Iterator[str]:
    for detail in details:
        setting = fields[str(detail["loc"][0])]
        rule = (
            detail["msg"].removeprefix("Value error, ").partition(", unable to")[0].replace("Input should", "it must")
        )
        given = "" if setting in _SECRET else _given(rule, detail["input"])
        yield _line(setting, f"{rule}{given}. Correct or remove it.")


def _given(rule: str, value: object) -> str:
    return f" Given is {_shown(value)}" if rule.endswith(("?", ".")) else f", not {_shown(value)}"


def _shown(value: object) -> str:
    text = repr(value)
    if "://" in text:
        return "a URL"
    return text if len(text) <= 60 else f"{text[:57]}..."
