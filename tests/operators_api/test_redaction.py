"""Secrets are shown to nobody: a canary in every place, looked for in every answer."""

import json

import pytest

from fastapi_events.api.redaction import redacted_text
from fastapi_events.model.outcome import Failure
from fastapi_events.model.secrets import HIDDEN, is_secret_name
from fastapi_events.settings import EventsSettings
from tests.dashboard.ground import Ground, app_of, by_header, client_of

CANARY = "sesame-4711"


async def everything(ground: Ground) -> dict[str, str]:
    """Every page and API answer there is, by path."""
    paths = ["", "/events", "/dead-letters", "/consumers", "/workers", "/audit"]
    paths += [f"/events/{event['id']}" for event in ground.seeded.events[-3:]]
    paths += [f"/dead-letters/{letter}" for letter in ground.seeded.dead]
    answers = {f"dashboard{path}": (await ground.client.get(f"/events/dashboard{path}")).text for path in paths}
    api = ["overview", "events", "dead-letters", "dead-letters/groups", "handlers", "workers", "actions"]
    api += [f"events/{event['id']}" for event in ground.seeded.events[-3:]]
    return answers | {f"api/{path}": (await ground.client.get(f"/events/api/{path}")).text for path in api}


async def test_a_canary_is_found_nowhere(bare: Ground) -> None:
    await bare.seeding.handler("a.first", "payments.*")
    payload = {
        "holder": "Ada", "number": CANARY, "password": CANARY, "nested": [{"api_key": CANARY, "Set-Cookie": CANARY}],
        "accessToken": {"deep": CANARY}, "database": f"postgresql://shop:{CANARY}@db/shop",
    }  # fmt: skip
    event = await bare.seeding.event("payments.card.stored", payload, headers={"Authorization": f"Bearer {CANARY}"})
    error = (
        f"login failed: password={CANARY} at postgresql://shop:{CANARY}@db/shop, Authorization: Bearer {CANARY}, "
        f'{{"client_secret": "{CANARY}"}}'
    )
    failure = Failure("shop.AuthError", error, f'  File "x.py", line 1, in f\n    connect(api_key="{CANARY}")\n{error}')
    await bare.seeding.delivery(event, "a.first", "dead", "max_attempts", attempts=2, failure=failure)
    await bare.seeding.action(
        "discard", "ada", "x", {"reason": "x", "token": CANARY}, bare.seeded.now - bare.seeded.now
    )
    answers = await everything(bare)
    assert len(answers) >= 14
    assert [path for path, text in answers.items() if CANARY in text] == []
    page = answers[f"dashboard/events/{event['id']}"]
    assert "Ada" in page, "what is no secret is shown"
    assert HIDDEN in page
    assert json.loads(answers[f"api/events/{event['id']}"])["hidden_secrets"] == 6


async def test_numbers_stay_exact(bare: Ground) -> None:
    text = '{"big": 123456789012345678901234567890, "price": 12345678901234567.89, "plain": 0.1, "huge": 1e400}'
    event = await bare.seeding.event("shop.order.placed", text)
    page = (await bare.client.get(f"/events/dashboard/events/{event['id']}")).text
    for number in ("123456789012345678901234567890", "12345678901234567.89", "0.1", "1" + "0" * 400):
        assert number in page
    data = (await bare.client.get(f"/events/api/events/{event['id']}")).json()
    assert data["payload"]["big"] == 123456789012345678901234567890
    assert data["payload"]["price"] == "12345678901234567.89"


@pytest.mark.parametrize("payload", [f'{{"n": {"9" * 5000}, "password": "{CANARY}"}}', "[" * 5000 + "]" * 5000])
async def test_a_payload_that_python_cannot_read_is_shown_as_text(bare: Ground, payload: str) -> None:
    event = await bare.seeding.event("shop.order.placed", payload)
    page = await bare.client.get(f"/events/dashboard/events/{event['id']}")
    data = await bare.client.get(f"/events/api/events/{event['id']}")
    assert (page.status_code, data.status_code) == (200, 200)
    assert "cannot be read as JSON" in page.text
    assert data.json()["payload_text"]
    assert CANARY not in page.text + data.text


async def test_a_large_payload_is_cut_on_the_page(bare: Ground) -> None:
    event = await bare.seeding.event("shop.order.placed", {"text": "x" * 900_000})
    page = await bare.client.get(f"/events/dashboard/events/{event['id']}")
    assert len(page.text) < 100_000
    assert "Cut after 64 KiB" in page.text


async def test_payloads_in_other_versions_are_shown_without_their_secrets(bare: Ground) -> None:
    """What is secret in a version whose class is gone, the classes that are left have to say."""
    await bare.seeding.handler("a.first", "payments.*")
    now, before = {"holder": "Ada", "number": CANARY}, {"owner": "Ada L.", "number": CANARY, "price": 0.1}
    event = await bare.seeding.event("payments.card.stored", now)
    await bare.connection.execute(
        "UPDATE events.event SET version = 3, other_versions = $1::text::jsonb", json.dumps({"1": before, "2": before})
    )
    dead = await bare.seeding.delivery(event, "a.first", "dead", "max_attempts")
    pages = [f"events/{event['id']}", f"dead-letters/{dead}"]
    texts = [(await bare.client.get(f"/events/dashboard/{page}")).text for page in pages]
    for text in texts:
        assert "As version 1" in text
        assert "As version 2" in text
        assert text.count("Ada L.") == 2
        assert CANARY not in text
    data = (await bare.client.get(f"/events/api/events/{event['id']}")).json()
    shown = {"owner": "Ada L.", "number": HIDDEN, "price": 0.1}
    assert (data["other_versions"], data["hidden_secrets"]) == ({"1": shown, "2": shown}, 3)
    await bare.connection.execute("UPDATE events.event SET other_versions = '[1]'")
    assert (await bare.client.get(f"/events/dashboard/{pages[0]}")).status_code == 200
    assert (await bare.client.get(f"/events/api/{pages[0]}")).status_code == 200


async def test_payloads_in_other_versions_need_the_permission_too(bare: Ground) -> None:
    event = await bare.seeding.event("payments.card.stored", {"holder": "Grace"})
    await bare.connection.execute('UPDATE events.event SET other_versions = \'{"2": {"holder": "Grace"}}\'')
    bare.port.settings, bare.port.authorize = EventsSettings(), by_header
    viewer = client_of(app_of(bare.port), headers={"x-permissions": "view"})
    assert "Grace" not in (await viewer.get(f"/events/dashboard/events/{event['id']}")).text
    assert (await viewer.get(f"/events/api/events/{event['id']}")).json()["other_versions"] == {}
    await viewer.aclose()


@pytest.mark.parametrize(
    "name", ["password", "dbPassword", "API_KEY", "x-api-key", "csrfToken", "Set-Cookie", "cvc", "APIKey"]
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["passenger", "tokenizer", "compass", "shipping", "secretary", "keyboard", "opinion", "id"]
)
def test_harmless_names(name: str) -> None:
    assert not is_secret_name(name)


def test_ordinary_text_is_left_alone() -> None:
    text = "KeyError: 'sku' in order 4711: quantity=3, key: value, File \"/srv/tokens.py\", line 3"
    assert redacted_text(text) == text
