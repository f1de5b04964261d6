"""Templates: escaped whatever the file is called, and strict about names that do not exist."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from fastapi_events.dashboard import formats

if TYPE_CHECKING:
    from fastapi_events.dashboard.visit import Visit


@cache
def environment() -> Environment:
    """The one environment of the pages."""
    made = Environment(
        loader=PackageLoader("fastapi_events.dashboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("ago", "span", "duration", "absolute", "iso", "count", "amount", "middle", "pretty"):
        made.filters[name] = getattr(formats, name)
    # Blocks are rendered by themselves too, where a template's own imports are not in force.
    cast("dict[str, Any]", made.globals)["ui"] = made.get_template("macros.html").module
    return made


def html(template: str, visit: Visit, status: int = 200, /, **values: Any) -> HTMLResponse:
    """A whole template."""
    text = environment().get_template(template).render(visit=visit, **values)
    return HTMLResponse(text, status)


def page(template: str, visit: Visit, status: int = 200, /, **values: Any) -> HTMLResponse:
    """The page, or what htmx asked for: the block named like its target, and the counts beside it.

    Answers 304 to a refresh whose content has not changed: nothing is swapped then.
    """
    found = environment().get_template(template)
    target = visit.htmx.target
    if visit.htmx.wants_page or target not in found.blocks:
        return HTMLResponse(found.render(visit=visit, **values), status)
    values["visit"] = visit
    block = "".join(found.blocks[target](found.new_context(values)))
    beside = environment().get_template("fragments/beside.html").render(values)
    tag = f'W/"{hashlib.sha256((block + beside).encode()).hexdigest()[:32]}"'
    if visit.request.headers.get("if-none-match") == tag:
        return HTMLResponse(status_code=304, headers={"ETag": tag})
    return HTMLResponse(block + beside, status, {"ETag": tag})
