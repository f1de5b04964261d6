"""``fastapi-events doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastapi_events.cli.options import AppOption, JsonOption
from fastapi_events.cli.telling import told


def doctor(
    app: AppOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with status 1 for warnings too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for the usual misconfigurations and say how to mend them; changes nothing. Status 1 if something fails."""
    from fastapi_events.cli.diagnosis import diagnose

    told(diagnose(app, strict=strict, as_json=as_json))
