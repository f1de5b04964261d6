"""What an import costs: a worker never loads a web framework, and the package itself loads next to nothing."""

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"fastapi", "starlette", "uvicorn", "sqlmodel", "jinja2"}
WITHOUT_FRAMEWORK = ["Events", "Module", "Event", "EventPublisher", "HandlerSession", "Delivery", "Retry"]


def loaded_by(statement: str) -> set[str]:
    """Top-level names of everything that a fresh Python has loaded after ``statement``."""
    program = (
        f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_the_package_alone_loads_no_dependency() -> None:
    loaded = loaded_by("import fastapi_events")
    assert "fastapi_events" in loaded
    assert not loaded & (FRAMEWORKS | {"sqlalchemy", "asyncpg", "pydantic", "alembic", "typer"})


@pytest.mark.parametrize("name", WITHOUT_FRAMEWORK)
def test_what_modules_and_workers_use_loads_no_web_framework(name: str) -> None:
    assert not loaded_by(f"from fastapi_events import {name}") & FRAMEWORKS


def test_the_worker_command_loads_no_web_framework() -> None:
    assert not loaded_by("import fastapi_events.cli.worker, fastapi_events.plugin") & FRAMEWORKS


@pytest.mark.parametrize("name", ["Publisher", "SessionDep"])
def test_dependencies_load_it_on_first_access(name: str) -> None:
    assert "fastapi" in loaded_by(f"from fastapi_events import {name}")
