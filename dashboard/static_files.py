"""Style sheet, scripts and icon, from the package's own data: fixed names, never a path put together from a request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import HTTPException, Response

_MEDIA_TYPES = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "htmx.LICENSE.txt": "text/plain; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file's content and type."""

    content: bytes
    media_type: str


def _read(name: str) -> bytes:
    return files("fastapi_events.dashboard").joinpath("static", name).read_bytes()


STATIC_FILES = {name: StaticFile(_read(name), media_type) for name, media_type in _MEDIA_TYPES.items()}
STATIC_VERSION = hashlib.sha256(b"".join(file.content for file in STATIC_FILES.values())).hexdigest()[:12]
"""Part of every file's path, so that browsers may keep files for ever and yet never use an old one."""


async def static_file(version: str, name: str) -> Response:
    """A file; one of another version (a page loaded before a deploy asks for it) may not be kept."""
    file = STATIC_FILES.get(name)
    if file is None:
        raise HTTPException(404, "There is no such file.")
    lasting = version == STATIC_VERSION
    headers = {"Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache"}
    return Response(file.content, media_type=file.media_type, headers=headers)
