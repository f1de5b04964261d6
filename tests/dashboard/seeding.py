"""A shop's half hour in the library's tables, written by SQL as the engine would have: readings are tried on it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from fastapi_events.engine.failure import fingerprint_of
from fastapi_events.model.identity import new_id
from fastapi_events.model.lane import partition_of
from fastapi_events.model.outcome import Failure

LANES = {"inbound": 0, "change": 1, "outbound": 2, "audit": 3}

TRACEBACK = """  File "/srv/shop/payments/handlers.py", line 41, in capture_payment
    receipt = await provider.charge(event.order_id, event.amount)
  File "/srv/shop/payments/provider.py", line 88, in charge
    raise ProviderDown(f"gateway answered {response.status_code} for charge {charge_id}")
shop.payments.provider.ProviderDown: gateway answered 503 for charge ch_8123"""
MAIL_TRACEBACK = """  File "/srv/shop/mail/handlers.py", line 17, in send_confirmation
    await smtp.send(message, timeout=5)
TimeoutError: no answer from smtp.shop.example within 5 s"""
PROVIDER_DOWN = Failure("shop.payments.provider.ProviderDown", "gateway answered 503 for charge ch_8123", TRACEBACK)
SMTP_SILENT = Failure("TimeoutError", "no answer from smtp.shop.example within 5 s", MAIL_TRACEBACK)


@dataclass
class Seeded:
    """What tests need to find again."""

    now: datetime
    group: int = 0
    handlers: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    worker: UUID = field(default_factory=new_id)
    dead: list[UUID] = field(default_factory=list)
    waiting: list[UUID] = field(default_factory=list)


class Seeding:
    """Writes rows on one connection."""

    def __init__(self, connection: asyncpg.Connection[Any], now: datetime) -> None:
        self._connection = connection
        self.seeded = Seeded(now)

    @classmethod
    async def on(cls, connection: asyncpg.Connection[Any]) -> Seeding:
        return cls(connection, await connection.fetchval("SELECT clock_timestamp()"))

    async def _insert(self, table: str, returning: str = "1", **columns: Any) -> Any:
        numbers = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        query = f"INSERT INTO events.{table} ({', '.join(columns)}) VALUES ({numbers}) RETURNING {returning}"
        return await self._connection.fetchval(query, *columns.values())

    async def group(self, name: str = "shop") -> int:
        self.seeded.group = await self._insert("consumer_group", "id", name=name)
        await self._connection.execute(
            "INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen) "
            "SELECT $1, l, p, 0, pg_current_snapshot() FROM generate_series(0, 2) l, generate_series(0, 31) p",
            self.seeded.group,
        )
        return self.seeded.group

    async def handler(self, name: str, selects: str, *, ordered: bool = True, on_dead: str = "park") -> int:
        number: int = await self._insert(
            "handler", "id", group_id=self.seeded.group, name=name, selects=selects, ordered=ordered, on_dead=on_dead,
            registered_at=self.seeded.now - timedelta(days=9),
        )  # fmt: skip
        await self._connection.execute(
            "UPDATE events.handler SET started_after = pg_current_snapshot() WHERE id = $1", number
        )
        self.seeded.handlers[name] = number
        return number

    async def event(self, name: str, payload: Any, **given: Any) -> dict[str, Any]:
        event_id = new_id()
        aggregate, aggregate_id = given.get("aggregate", name.split(".")[-2:][0]), given.get("aggregate_id")
        key = f"//{aggregate}/{aggregate_id}" if aggregate_id else None
        published_at, headers = given.get("published_at", self.seeded.now), given.get("headers")
        row = {
            "name": name, "lane": LANES[given.get("lane", "change")],
            "partition": partition_of(key or str(event_id), 32),
            "id": event_id, "correlation_id": given.get("correlation_id") or event_id,
            "causation_id": given.get("causation_id"), "occurred_at": published_at, "published_at": published_at,
            "aggregate": aggregate, "aggregate_id": aggregate_id, "key": given.get("key", key),
            "tenant_id": given.get("tenant_id"), "actor": given.get("actor"), "depth": given.get("depth", 0),
            "headers": json.dumps(headers) if headers else None,
            "payload": payload if isinstance(payload, str) else json.dumps(payload),
        }  # fmt: skip
        row["position"] = await self._insert("event", "position", **row)
        self.seeded.events.append(row)
        return row

    async def settle_all(self) -> None:
        """Move every cursor past what has been published up to here."""
        await self._connection.execute(
            "INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen) "
            "SELECT group_id, lane, partition, max(seq) + 1, pg_current_snapshot() FROM events.cursor_log "
            "WHERE group_id = $1 GROUP BY group_id, lane, partition",
            self.seeded.group,
        )

    async def batch(self, events: list[dict[str, Any]], handlers: list[str], took: timedelta) -> None:
        positions = sorted(event["position"] for event in events)
        done = max(event["published_at"] for event in events) + took
        await self._insert(
            "success_batch", group_id=self.seeded.group, lane=events[0]["lane"], first_position=positions[0],
            last_position=positions[-1], handler_ids=[self.seeded.handlers[name] for name in handlers],
            positions=positions, worker_id=self.seeded.worker, started_at=done - took / 2, finished_at=done,
        )  # fmt: skip

    async def delivery(self, event: dict[str, Any], handler: str, state: str, reason: str, **given: Any) -> UUID:
        delivery_id, failure, attempts = new_id(), given.get("failure"), given.get("attempts", 0)
        slot, at = event["key"] or str(event["id"]), event["published_at"]
        await self._insert(
            "delivery", id=delivery_id, handler_id=self.seeded.handlers[handler], position=event["position"],
            lane=event["lane"], partition=event["partition"], slot=slot, event_id=event["id"], event_name=event["name"],
            tenant_id=event["tenant_id"], state=state, reason=reason, note=given.get("note"), attempts=attempts,
            redrives=given.get("redrives", 0), crashes=given.get("crashes", 0),
            error_type=failure.error_type if failure else None,
            error_message=failure.message if failure else None, published_at=at, created_at=at,
            fingerprint=fingerprint_of(failure) if failure else None,
            changed_at=given.get("changed_at", min(self.seeded.now, at + timedelta(minutes=4))),
        )  # fmt: skip
        for number in range(1, attempts + 1):
            outcome = "dead" if state == "dead" and number == attempts else "retry"
            await self.attempt(delivery_id, number, outcome, failure, at + timedelta(seconds=3**number))
        if state == "dead":
            await self._connection.execute(
                "UPDATE events.delivery d SET event = to_jsonb(e) - 'xid' FROM events.event e "
                "WHERE d.id = $1 AND e.lane = d.lane AND e.partition = d.partition AND e.position = d.position",
                delivery_id,
            )
        if state in ("waiting", "dead"):
            await self._park(self.seeded.handlers[handler], slot, state)
            (self.seeded.dead if state == "dead" else self.seeded.waiting).append(delivery_id)
        return delivery_id

    async def _park(self, handler: int, slot: str, state: str) -> None:
        due = "infinity" if state == "dead" else "12 seconds"
        await self._connection.execute(
            "INSERT INTO events.parked_key (handler_id, slot, due_at) VALUES ($1, $2, CASE $3 "
            "WHEN 'infinity' THEN 'infinity' ELSE clock_timestamp() + $3::interval END) ON CONFLICT DO NOTHING",
            handler, slot, due,
        )  # fmt: skip

    async def attempt(
        self, delivery_id: UUID, number: int, outcome: str, failure: Failure | None, finished_at: datetime
    ) -> None:
        await self._insert(
            "attempt", delivery_id=delivery_id, number=number, outcome=outcome, worker_id=self.seeded.worker,
            error_type=failure.error_type if failure else None, error_message=failure.message if failure else None,
            traceback=failure.traceback if failure else None, duration=0.31 * number, finished_at=finished_at,
        )  # fmt: skip

    async def process(self, worker: UUID | None = None, **given: Any) -> None:
        await self._insert(
            "worker", id=worker or self.seeded.worker, group_id=self.seeded.group,
            host=given.get("host", "web-7f9c4d-x2k1q"), pid=given.get("pid", 17), drains=given.get("drains", True),
            release="0.1.0", handlers=list(self.seeded.handlers.values()), connections=14,
            wake_up=given.get("wake_up", "listening"),
            started_at=self.seeded.now - timedelta(hours=given.get("hours", 26)),
            lease_until=self.seeded.now + timedelta(seconds=given.get("lease", 3600)),
            stale_settles=given.get("stale", 0),
        )  # fmt: skip

    async def action(self, action: str, actor: str, target: str, details: dict[str, Any], ago: timedelta) -> None:
        await self._insert(
            "operator_action", id=new_id(), action=action, actor=actor, target=target, details=json.dumps(details),
            acted_at=self.seeded.now - ago,
        )  # fmt: skip


async def seed_shop(connection: asyncpg.Connection[Any], orders: int = 24) -> Seeded:
    """A busy half hour of a shop: six kinds of events, three handlers, retries, two causes of dead letters."""
    seeding, dice = await Seeding.on(connection), random.Random(7)
    seeded = seeding.seeded
    await seeding.group()
    await seeding.handler("payments.capture_payment", "orders.order.placed")
    await seeding.handler("mail.send_confirmation", "*", ordered=False, on_dead="continue")
    await seeding.handler("inventory.reserve_stock", "orders.order.placed")
    await seeding.process()
    await seeding.process(new_id(), host="worker-5d8b9-qq7zt", pid=9, hours=3, stale=2)
    await seeding.process(new_id(), host="worker-5d8b9-lost1", pid=9, hours=49, lease=-95, wake_up="polling")
    for number in range(orders):
        await _order(seeding, dice, number, orders)
    await seeding.settle_all()
    await _newest(seeding)
    await seeding.action("redrive", "ada@shop.example", "handler:mail.send_confirmation",
                         {"asked": 14, "changed": 14, "reason": "smtp is back"}, timedelta(minutes=3))  # fmt: skip
    await seeding.action("discard", "grace@shop.example", f"delivery:{new_id()}",
                         {"asked": 1, "changed": 1, "reason": "test order"}, timedelta(hours=5))  # fmt: skip
    return seeded


async def _order(seeding: Seeding, dice: random.Random, number: int, orders: int) -> None:
    seeded = seeding.seeded
    at = seeded.now - timedelta(minutes=29) * (orders - number) / orders - timedelta(seconds=dice.random() * 40)
    order = f"4f6c{number:04d}-93a1-4c6e-8a77-0d2e5b1c9f{number:02d}"
    tenant = ("nordwind", "acme")[number % 2]
    root = await seeding.event(
        "orders.order.placed",
        {"order_id": order, "sku": f"A-{dice.randrange(9)}", "quantity": dice.randrange(1, 5),
         "email": f"customer{number}@example.org", "card": {"number": "4111111111111111", "cvc_token": "tok_x"}},
        aggregate_id=order, tenant_id=tenant, published_at=at, actor="web",
        headers={"traceparent": "00-4bf92f-00f067-01"},
    )  # fmt: skip
    flow = {"aggregate": "order", "aggregate_id": order, "tenant_id": tenant, "correlation_id": root["id"],
            "causation_id": root["id"], "depth": 1}  # fmt: skip
    if number % 6 == 4:
        await seeding.delivery(
            root, "payments.capture_payment", "dead", "max_attempts", attempts=3, failure=PROVIDER_DOWN
        )
        done = ["mail.send_confirmation", "inventory.reserve_stock"]
    else:
        done = ["payments.capture_payment", "mail.send_confirmation", "inventory.reserve_stock"]
        paid = await seeding.event("payments.payment.captured", {"order_id": order, "cents": dice.randrange(900, 9000)},
                                   published_at=at + timedelta(seconds=1), **flow)  # fmt: skip
        if number % 8 == 5:
            await seeding.delivery(paid, "mail.send_confirmation", "dead", "timed_out", attempts=3, failure=SMTP_SILENT)
        else:
            await seeding.batch([paid], ["mail.send_confirmation"], timedelta(milliseconds=dice.randrange(3, 60)))
    await seeding.batch([root], done, timedelta(milliseconds=dice.randrange(3, 90)))
    reserved = await seeding.event("inventory.stock.reserved", {"order_id": order, "sku": "A-1", "quantity": 1},
                                   published_at=at + timedelta(seconds=2), **flow)  # fmt: skip
    await seeding.batch([reserved], ["mail.send_confirmation"], timedelta(milliseconds=9))
    if number % 7 == 3:
        low = await seeding.event(
            "inventory.stock.low", {"sku": "A-1", "left": 2}, aggregate_id="A-1", tenant_id=tenant, depth=2,
            published_at=at + timedelta(seconds=3), correlation_id=root["id"], causation_id=reserved["id"],
        )  # fmt: skip
        await seeding.batch([low], ["mail.send_confirmation"], timedelta(milliseconds=7))


async def _newest(seeding: Seeding) -> None:
    """What is going on this very minute: something retried, something blocked behind it, something not begun."""
    now = seeding.seeded.now
    order = "5a11ffff-93a1-4c6e-8a77-0d2e5b1c9f00"
    first = await seeding.event(
        "orders.order.placed", {"order_id": order, "sku": "B-2", "quantity": 1, "email": "new@example.org"},
        aggregate_id=order, tenant_id="acme", published_at=now - timedelta(seconds=50),
    )  # fmt: skip
    second = await seeding.event(
        "orders.order.cancelled", {"order_id": order, "reason": "changed my mind"},
        aggregate_id=order, tenant_id="acme", published_at=now - timedelta(seconds=40),
    )  # fmt: skip
    await seeding.delivery(first, "payments.capture_payment", "waiting", "retry", attempts=1, failure=PROVIDER_DOWN)
    await seeding.delivery(second, "mail.send_confirmation", "waiting", "retry", attempts=2, failure=SMTP_SILENT)
    await seeding.settle_all()
    await seeding.event("audit.login.succeeded", {"user": "ada", "password": "hunter2"}, lane="audit",
                        published_at=now - timedelta(seconds=9))  # fmt: skip
    for number in range(3):
        await seeding.event(
            "orders.order.placed", {"order_id": str(number), "sku": "C-3", "quantity": 2, "email": "p@example.org"},
            aggregate_id=f"pending-{number}", tenant_id="acme", published_at=now - timedelta(seconds=3 - number),
        )  # fmt: skip
