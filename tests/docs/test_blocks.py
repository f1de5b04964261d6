"""Every block of every page: Python runs, commands exist."""

import os
import re
import shlex
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import typer.main

from fastapi_events.cli.commands import app as command_line
from tests.docs.pages import ROOT, Block, Project, all_blocks, blocks_of, page_names, text_of

LANGUAGES = {"python", "console", "ini", "text", "sql", "json"}
WITH_PYTHON = [page for page in page_names() if any(blocks_of(page, "python")) and page != "README.md"]
"""The README's two projects share names with each other's world (one instance per process): see ``test_start``."""
COMMANDS = [
    (block, line[2:]) for block in all_blocks("console") for line in block.text.splitlines() if line[:2] == "$ "
]
OTHERS = {"cd", "createdb", "curl", "docker", "export", "git", "psql", "pytest", "python", "alembic"}
"""Programs whose arguments are not ours to check here; what is shown of them is run in the page's own test."""


@pytest.mark.parametrize("page", WITH_PYTHON)
async def test_python_runs(page: str, project: Callable[[str], Project]) -> None:
    made = project(page)
    for module in made.modules:
        if not module.startswith("test_"):  # pytest runs those, see ``test_how_to``
            made.load(module)
    await made.run_snippets()


def test_languages_are_known() -> None:
    assert {block.language for block in all_blocks()} <= LANGUAGES


@pytest.mark.parametrize(("block", "command"), COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_command_exists(block: Block, command: str) -> None:
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        check_variable(words.pop(0).partition("=")[0])
    program, *arguments = words
    if program == "fastapi-events":
        check_own_command(arguments)
    elif program == "make":
        check_target(arguments)
    elif program == "pip":
        check_install(arguments)
    elif program in {"uvicorn", "fastapi"}:
        check_application(block.page, arguments)
    else:
        assert program in OTHERS


def check_variable(name: str) -> None:
    from fastapi_events.settings import EventsSettings
    from fastapi_events.settings.problems import variable_of

    known = {variable_of(field) for field in EventsSettings.model_fields}
    assert not name.startswith("EVENTS_") or name in known


def check_own_command(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(command_line)
    while hasattr(command, "commands"):
        name = arguments.pop(0)
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    command.make_context(command.name, arguments)


def check_target(arguments: list[str]) -> None:
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    assert {word for word in arguments if "=" not in word} <= targets


def check_install(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert arguments[0] == "install"
    for requirement in (word for word in arguments[1:] if not word.startswith("-")):
        name, _, extras = requirement.rstrip("]").partition("[")
        if name in {".", project["name"]}:
            assert set(filter(None, extras.split(","))) <= set(project["optional-dependencies"])


def check_application(page: str, arguments: list[str]) -> None:
    target = next(word for word in arguments if re.fullmatch(r"[\w.]+:\w+", word))
    module, _, attribute = target.partition(":")
    path = module.replace(".", "/") + ".py"
    pages = (page, "README.md")  # the shop of the README is meant where a page has none of its own
    sources = [block.text for each in pages for block in blocks_of(each, "python") if block.file == path]
    sources += [(ROOT / path).read_text()] if (ROOT / path).exists() else []
    assert any(re.search(rf"^{attribute}\b.* = ", source, re.MULTILINE) for source in sources)


@pytest.mark.parametrize("page", page_names())
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page  # noqa: PTH118, PTH120
        assert (ROOT / there).exists(), target
        if anchor and there.endswith(".md"):
            assert anchor in anchors(there), target


def anchors(page: str) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_paths_named_in_prose_exist() -> None:
    """A path of the repository in backticks, as the walks along the data path name them."""
    wrong = {
        f"{page}: {path}"
        for page in page_names()
        for path in re.findall(
            r"`((?:fastapi_events|dashboard|alembic|example_app|benchmarks|tests|docs)/[\w./*-]*)`", text_of(page)
        )
        if not any(ROOT.glob(path.rstrip("/")))
    }
    assert not wrong
