from functools import partial

from fastapi.testclient import TestClient
from shop.events import OrderPlaced, StockReserved, app, reserved


def test_with_a_test_client(prepared_events, published) -> None:
    with TestClient(app) as client:
        assert client.post("/orders/7").status_code == 201
        call = client.portal.call
        call(partial(published.one, OrderPlaced, order_id=7))
        call(partial(published.none, StockReserved))
        call(prepared_events.drain_once)
        assert call(reserved) == 1


def test_nothing_is_left_behind() -> None:
    from shop.events import engine, events

    assert events.sessions.kw["bind"] is engine
    assert not events.settings.development
