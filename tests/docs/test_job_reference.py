"""The reference of jobs names everything that a job and its starter are given, with its defaults."""

import inspect
from dataclasses import fields

import pytest

from fastapi_events import Child, JobClient, JobContext, RunInfo, RunView, Started
from fastapi_events.api.jobs import StartKeywords
from tests.docs.pages import text_of

CONTEXT = text_of("docs/reference/job-context.md")
JOBS = text_of("docs/reference/jobs.md")


def members(kind: type) -> list[str]:
    return [name for base in kind.__mro__[:-1] for name in vars(base) if not name.startswith("_")]


def called(name: str, function: object) -> str:
    """How a method is called: its parameters with their defaults, without types."""
    assert callable(function)
    _, *parameters = inspect.signature(function).parameters.values()
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    return f"{name}{inspect.Signature(bare)}"


@pytest.mark.parametrize("name", members(JobContext))
def test_every_method_of_the_context_is_shown_as_it_is_called(name: str) -> None:
    member = inspect.getattr_static(JobContext, name)
    if isinstance(member, property):
        assert f"| `job.{name}` |" in CONTEXT
    else:
        assert f"`await job.{called(name, member)}`" in CONTEXT


@pytest.mark.parametrize("kind", [RunInfo, Started, Child])
def test_every_field_of_what_a_job_is_given_is_told(kind: type) -> None:
    assert not [field.name for field in fields(kind) if f"`{field.name}`" not in CONTEXT]


def test_every_method_of_a_client_is_told() -> None:
    assert not [name for name in members(JobClient) if f"`{name}(" not in JOBS]


def test_every_option_of_a_start_and_every_field_of_a_run_is_told() -> None:
    assert not [name for name in StartKeywords.__annotations__ if f"| `{name}` |" not in JOBS]
    of_view = JOBS.partition("| of a `RunView` | |")[2]
    assert not [field.name for field in fields(RunView) if f"`{field.name}`" not in of_view]
