"""Whatever is stored or asked is text: no vector adds an element, an attribute or a link of its own to any page."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi_events.model.outcome import Failure
from tests.dashboard.ground import Ground

VECTORS: list[str] = json.loads(Path(__file__).with_name("hostile_vectors.json").read_text())
"""The corpus only grows: a defect that was mended leaves its whole family here."""
ELEMENTS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "div", "nav", "main", "ul", "ol", "li", "a"),
    *(
        "p",
        "h1",
        "h2",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "form",
        "input",
        "button",
        "label",
    ),
    *("span", "small", "strong", "b", "code", "pre", "kbd", "time", "details", "summary", "dialog", "figure"),
    *("figcaption", "svg", "path", "rect", "circle", "line"),
}
ATTRIBUTES = {
    *(
        "class",
        "id",
        "href",
        "src",
        "rel",
        "type",
        "name",
        "content",
        "charset",
        "lang",
        "defer",
        "tabindex",
        "role",
        "title",
    ),
    *("method", "action", "value", "placeholder", "maxlength", "autocomplete", "autocapitalize", "spellcheck", "for"),
    *("scope", "datetime", "open", "required", "autofocus", "hx-get", "hx-post", "hx-target", "hx-swap", "hx-push-url"),
    *(
        "hx-trigger",
        "hx-sync",
        "hx-swap-oob",
        "hx-ignore",
        "data-poll",
        "data-copy",
        "data-key",
        "data-close",
        "data-pause",
        "data-help",
    ),
    *("data-theme-switch", "data-theme-name", "data-select-all", "data-selected", "data-keys-off", "aria-hidden"),
    *(
        "aria-label",
        "aria-labelledby",
        "aria-current",
        "aria-live",
        "aria-pressed",
        "focusable",
        "viewbox",
        "d",
        "x",
        "y",
    ),
    *("x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "width", "height", "fill", "preserveaspectratio"),
}
LINKS = {"href", "src", "action", "hx-get", "hx-post"}


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag not in ELEMENTS:
            self.problems.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.problems.append(f"<{tag} {name}=…>")
            link = value or ""
            if name in LINKS and not (link.startswith("/events/dashboard") or link == "#main"):
                self.problems.append(f"<{tag} {name}={value!r}>")


def check(page: Any, where: str) -> None:
    found = Page(page.text)
    assert found.problems == [], where
    assert found.scripts in (0, 3), where


async def test_stored_content(bare: Ground) -> None:
    seeding = bare.seeding
    for number, text in enumerate(VECTORS):
        handler = await seeding.handler(f"h{number} {text}"[:200], "*")
        await bare.connection.execute("UPDATE events.handler SET selects = $2 WHERE id = $1", handler, f"*{text}")
        event = await seeding.event(
            text, {text: text, "list": [text], "url": f"https://{text}"}, headers={text: text}, aggregate=text,
            aggregate_id=text, tenant_id=text, actor=text, key=text,
        )  # fmt: skip
        failure = Failure(text, text, text)
        name = list(seeding.seeded.handlers)[-1]
        await seeding.delivery(event, name, "dead", text, attempts=1, failure=failure, note=text)
        await seeding.process(event["id"], host=text, wake_up=text)
        await seeding.action(text, text, text, {text: text, "list": [text]}, seeding.seeded.now - seeding.seeded.now)
    await bare.connection.execute("UPDATE events.consumer_group SET name = 'shop'")
    pages = ["", "/events", "/dead-letters", "/consumers", "/workers", "/audit"]
    pages += [f"/events/{event['id']}" for event in bare.seeded.events]
    pages += [f"/dead-letters/{letter}" for letter in bare.seeded.dead]
    pages += [f"/dead-letters/confirm?action=discard&id={bare.seeded.dead[0]}"]
    for path in pages:
        page = await bare.client.get(f"/events/dashboard{path}")
        assert page.status_code == 200, path
        check(page, path)
        part = await bare.client.get(
            f"/events/dashboard{path}", headers={"HX-Request": "true", "HX-Target": "div#live"}
        )
        check(part, path)
    detail = (await bare.client.get(f"/events/dashboard/events/{bare.seeded.events[0]['id']}")).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in detail, "it is shown, as text"


async def test_asked_content(shop: Ground) -> None:
    letter = shop.seeded.dead[0]
    for vector in VECTORS:
        for path, name in (
            ("/events", "filter"), ("/events", "before"), ("/dead-letters", "filter"), ("/dead-letters", "cursor"),
            ("/dead-letters", "done"), ("/dead-letters", "asked"), ("/audit", "cursor"),
            ("/dead-letters/confirm", "action"),
        ):  # fmt: skip
            given = {"action": "redrive", "id": str(letter), name: vector}
            page = await shop.client.get(f"/events/dashboard{path}", params=given)
            assert page.status_code in (200, 422), (path, name, vector)
            check(page, f"{path} {name} {vector}")
        for value in (f"name:{vector}", f'handler:"{vector}"', f"handler:{vector.replace(' ', '')}"):
            for path in ("/events", "/dead-letters"):
                page = await shop.client.get(f"/events/dashboard{path}", params={"filter": value})
                check(page, f"{path} {value}")
        page = await shop.client.get(f"/events/dashboard/events/x{quote(vector.replace('/', ''))}")
        assert page.status_code == 422
        check(page, f"path {vector}")
