"""Wherever the router is included or mounted, every link leads where it should, and never to another scheme."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import Mount

from tests.dashboard.ground import Ground, Port, client_of, routes_of


def plain(port: Port) -> Any:
    app = FastAPI()
    app.include_router(routes_of(port))
    return app


def with_prefix(port: Port) -> Any:
    app = FastAPI()
    app.include_router(routes_of(port), prefix="/internal/ops")
    return app


def nested(port: Port) -> Any:
    outer, middle, app = APIRouter(prefix="/v1"), APIRouter(prefix="/admin"), FastAPI()
    middle.include_router(routes_of(port))
    outer.include_router(middle, prefix="/x")
    app.include_router(outer)
    return app


def in_a_path_parameter(port: Port) -> Any:
    app = FastAPI()
    app.include_router(routes_of(port), prefix="/t/{tenant}")
    return app


def twice(port: Port) -> Any:
    app, router = FastAPI(), routes_of(port)
    app.include_router(router, prefix="/one")
    app.include_router(router, prefix="/two")
    return app


def mounted(name: str | None) -> Callable[[Port], Any]:
    def build(port: Port) -> Any:
        app = FastAPI()
        app.router.routes.append(Mount("/sub", app=plain(port), name=name))
        return app

    return build


def behind_a_proxy(*, strips: bool) -> Callable[[Port], Any]:
    def build(port: Port) -> Any:
        app = plain(port)

        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                path = scope["path"]
                assert path.startswith("/proxy")
                scope = dict(
                    scope, root_path="/proxy", path=path.removeprefix("/proxy") if strips else path, scheme="http"
                )
            await app(scope, receive, send)

        return proxied

    return build


PLACES: dict[str, tuple[Callable[[Port], Any], str]] = {
    "plain": (plain, ""),
    "prefix": (with_prefix, "/internal/ops"),
    "nested": (nested, "/v1/x/admin"),
    "path parameter": (in_a_path_parameter, "/t/nord%20wind"),
    "first of two": (twice, "/one"),
    "second of two": (twice, "/two"),
    "unnamed mount": (mounted(None), "/sub"),
    "named mount": (mounted("sub"), "/sub"),
    "stripping proxy": (behind_a_proxy(strips=True), "/proxy"),
    "keeping proxy": (behind_a_proxy(strips=False), "/proxy"),
}


@pytest.mark.parametrize("place", PLACES)
async def test_every_link_of_every_page_arrives(shop: Ground, place: str) -> None:
    build, prefix = PLACES[place]
    base = f"{prefix}/events/dashboard"
    async with client_of(build(shop.port), follow_redirects=False) as client:
        seen: set[str] = set()
        for start in ("", "/", "/events", "/dead-letters", f"/dead-letters/{shop.seeded.dead[0]}"):
            page = await client.get(base + start)
            assert page.status_code == 200, (place, start)
            links = set(re.findall(r'(?:href|src|action|hx-get|hx-post)="([^"]*)"', page.text)) - {"#main"}
            assert len(links) > 8
            for link in links:
                parts = urlsplit(link)
                assert (parts.scheme, parts.netloc) == ("", ""), "no scheme, no host"
                assert link.startswith(base), (place, link)
            seen |= {link.replace("&amp;", "&") for link in links}
        routes = {re.sub(r"/[^/]*[0-9][^/]*", "/#", urlsplit(link).path): link for link in sorted(seen)}  # one of each
        for link in routes.values():
            assert (await client.get(link)).status_code in (200, 422), (place, link)  # 422: confirming nothing
        confirm = await client.get(f"{base}/dead-letters/confirm?action=redrive&id={shop.seeded.dead[0]}")
        assert f'action="{base}/dead-letters/redrive"' in confirm.text
        done = await client.post(
            f"{base}/dead-letters/redrive", content=f"id={shop.seeded.dead[0]}",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )  # fmt: skip
        assert done.status_code == 303
        assert done.headers["location"].startswith(f"{base}/dead-letters?done=redrive")
