"""The audit tier: stored and shown, heard by broadcast handlers alone, and the start of nothing durable."""

from typing import Any

import pytest

from fastapi_events import Event, Events, Module, RawEvent
from fastapi_events.errors import AuditEventTriggerError, DeclarationError, InvalidFilter
from tests.delivery.stage import Placed, Stage, publish, until


class LoginFailed(Event, name="auth.login.failed", tier="audit"):
    """An event for the record."""

    user: str


class LockedOut(Event, name="auth.account.locked", aggregate_id="user"):
    """An ordinary event beside it."""

    user: str


async def test_only_broadcast_handlers_hear_of_it_and_wildcards_if_they_ask(stage: Stage) -> None:
    heard: list[str] = []
    audit = Module("audit")

    @audit.on(LoginFailed, broadcast=True)
    async def by_class(event: LoginFailed) -> None:
        heard.append(f"by class {event.user}")

    @audit.on("auth.login.failed", broadcast=True)
    async def by_name(event: LoginFailed) -> None:
        heard.append(f"by name {event.user}")

    @audit.on("auth.*", broadcast=True, audit=True)
    async def every(event: LoginFailed | LockedOut) -> None:
        heard.append(f"every {type(event).__name__}")

    @audit.on("auth.*", broadcast=True)
    async def ordinary(event: LockedOut) -> None:
        heard.append(f"ordinary {type(event).__name__}")

    @audit.on("auth.*")
    async def durable(event: LockedOut | RawEvent) -> None:
        heard.append(f"durable {type(event).__name__}")

    events = await stage.running(audit)
    await publish(events, [LoginFailed(user="ada"), LockedOut(user="ada")])
    await until(lambda: len(heard) == 6)
    await events.drain_once()
    assert sorted(heard) == [
        "by class ada", "by name ada", "durable LockedOut", "every LockedOut", "every LoginFailed",
        "ordinary LockedOut",
    ]  # fmt: skip


async def test_a_process_that_hears_of_wildcards_alone_reads_no_audit_lane(stage: Stage) -> None:
    module = Module("shop")

    @module.on("shop.*", broadcast=True)
    async def hear(event: Event) -> None: ...

    events = await stage.idle(module, enabled=False)
    assert {place // 1024 for place in events.runtime.broadcasts._tail._places} == {0, 1, 2}


async def test_no_durable_handler_is_ever_given_one(stage: Stage) -> None:
    """Nor left a delivery for it, nor counted as pending."""
    seen: list[Any] = []
    module = Module("audit")

    @module.on("*", id="audit.everything")
    async def everything(event: Event | RawEvent) -> None:
        seen.append(event)

    events = await stage.running(module)
    await publish(events, [LoginFailed(user="ada"), Placed(order="a")])
    await until(lambda: seen)
    await events.drain_once()
    assert [type(event) for event in seen] == [Placed]
    assert await stage.deliveries() == []
    assert await events.observe.oldest_pending_age() is None


@pytest.mark.parametrize("how", ["class", "name"])
def test_binding_one_durably_is_refused(how: str) -> None:
    module = Module("audit")
    wanted = r"handler 'audit.note'.*is an audit event.*Add broadcast=True.*tier='domain'"
    with pytest.raises(AuditEventTriggerError, match=wanted) as refused:
        given: Any = LoginFailed if how == "class" else "auth.login.failed"
        module.on(given, id="audit.note")(lambda event: None)
        assert how == "name", "at once"
        Events(modules=[module])
    assert isinstance(refused.value, DeclarationError)
    assert ("LoginFailed" if how == "class" else "'auth.login.failed'") in str(refused.value)


def test_a_name_of_two_tiers_is_somebodys_to_handle() -> None:
    class OldLogin(Event, name="auth.login.renewed", tier="audit"):
        user: str

    class NewLogin(Event, name="auth.login.renewed", version=2):
        user: str

    module = Module("audit")
    module.on(OldLogin, id="audit.hear", broadcast=True)(lambda event: None)
    module.on(NewLogin, id="audit.handle")(lambda event: None)
    module.on("auth.login.renewed", id="audit.by_name")(lambda event: None)
    Events(modules=[module])


async def test_history_shows_them_and_finds_them_by_tier(stage: Stage) -> None:
    events = await stage.idle()
    await publish(events, [LoginFailed(user="ada"), Placed(order="a"), LoginFailed(user="bob"), LockedOut(user="ada")])

    async def names(where: str, **options: Any) -> list[str]:
        return [event.name for event in (await events.observe.events(where, **options)).events]

    assert await names("tier:audit") == ["auth.login.failed"] * 2
    assert await names("tier:domain") == ["auth.account.locked", "shop.order.placed"]
    assert await names("tier:audit payload.user:bob") == ["auth.login.failed"]
    newest = (await events.observe.events("tier:audit")).events[0]
    assert (newest.status, newest.lane, newest.handlers) == ("audit", "audit", ())
    assert await names(f"correlation:{newest.correlation_id} tier:domain") == []
    assert await names(f"correlation:{newest.correlation_id} tier:audit") == ["auth.login.failed"]
    assert await names("tier:audit", after=0) == ["auth.login.failed"] * 2
    assert await names("tier:domain aggregate:account/ada") == ["auth.account.locked"]
    assert await names("tier:audit aggregate:account/ada") == []
    with pytest.raises(InvalidFilter, match=r"tier:audits does not exist. It is one of domain, audit"):
        await events.observe.events("tier:audits")
