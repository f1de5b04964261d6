"""Projects made of pages, on the database of this run."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.docs.pages import Project


@pytest_asyncio.fixture
async def project(
    clean_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], Project]]:
    """Make the project of a page: in the working folder, importable, with the database as the pages assume it."""
    made: list[Project] = []

    def make(page: str) -> Project:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("EVENTS_DATABASE_URL", clean_database)
        made.append(Project(page, tmp_path).write())
        return made[-1]

    yield make
    for each in made:
        await each.forget()
