"""What is secret in one version of an event is found nowhere either where another was stored, or lifted to it."""

from typing import Annotated, Any

import pytest

from fastapi_events import Event, Module, Retry, Secret
from tests.delivery.stage import Stage

CANARY = "sesame'4711"


class Asked1(Event, name="pay.loan.asked", aggregate_id="loan"):
    loan: str
    account: str


class Asked2(Event, name="pay.loan.asked", version=2, aggregate_id="loan"):
    loan: str
    iban: Annotated[str, Secret]


def quoting(event_class: Any) -> Module:
    """A module whose handler tells everything that it was given."""
    module = Module("pay")

    @module.upcast(Asked2, from_version=1)
    def to_iban(old: dict[str, Any]) -> dict[str, Any]:
        return {"loan": old["loan"], "iban": old["account"]}

    async def book(event: Any) -> None:
        raise RuntimeError(f"refused: {getattr(event, 'iban', None) or event.account}")

    module.on(event_class, id="pay.book", retry=Retry(max_attempts=1))(book)
    return module


LIFTED = (Asked1(loan="1", account=CANARY), None)
IN_VERSIONS = (Asked2(loan="1", iban=CANARY), Asked1(loan="1", account=CANARY))


@pytest.mark.parametrize(
    ("taken", "published"),
    [(Asked2, LIFTED), (Asked2, IN_VERSIONS), (Asked1, IN_VERSIONS), ("pay.loan.*", IN_VERSIONS)],
)
async def test_no_error_quotes_it(
    stage: Stage, caplog: pytest.LogCaptureFixture, taken: Any, published: tuple[Event, Event | None]
) -> None:
    event, also = published
    module = quoting(taken)
    if taken is Asked1:  # which knows nothing of what became a secret later; another handler's class does
        module.on(Asked2, id="pay.other")(_nothing)
    events = await stage.idle(module)
    await events.publish(event, also=also)
    await events.drain_once()
    [row] = await stage.deliveries("dead")
    kept = str(row["error_message"]) + str(await stage.rows("SELECT error_message, traceback FROM events.attempt"))
    assert "refused: ••••••" in kept
    for text in (kept, caplog.text):
        assert CANARY not in text
        assert repr(CANARY) not in text


async def _nothing(event: Any) -> None:
    """Takes anything."""
