"""Who is around whom, and that what is not overridden is not there."""

from fastapi_events import (
    AttemptContext,
    AttemptNext,
    Delivery,
    EventPublisher,
    HandleContext,
    HandleNext,
    Middleware,
    Module,
)
from fastapi_events.model.onion import fold
from tests.delivery.stage import Pinged, Placed, Stage
from tests.middleware.notes import Noting


async def test_the_first_one_given_is_outermost_and_the_instance_is_around_module_and_handler(stage: Stage) -> None:
    notes: list[str] = []
    module = Module("shop", middleware=[Noting("module", notes)])

    @module.on(Placed, middleware=[Noting("handler 1", notes), Noting("handler 2", notes)])
    async def handle(event: Placed) -> None:
        notes.append("the handler")

    events = await stage.idle(module, middleware=[Noting("all 1", notes), Noting("all 2", notes)])
    names = ["all 1", "all 2", "module", "handler 1", "handler 2"]
    await events.publish(Placed(order="a"))
    assert notes == [f"{name} publishes" for name in names[:2]] + [f"{name} published" for name in names[1::-1]]
    notes.clear()
    await events.drain_once()
    assert notes == [
        *(f"{name} attempts" for name in names),
        *(f"{name} handles" for name in names),
        "the handler",
        *(f"{name} handled" for name in reversed(names)),
        *(f"{name} attempted" for name in reversed(names)),
    ]


async def test_that_of_a_module_or_handler_is_around_no_other(stage: Stage) -> None:
    notes: list[str] = []
    module, other = Module("shop", middleware=[Noting("shop", notes)]), Module("other")

    @module.on(Placed, middleware=[Noting("own", notes)])
    async def placed(event: Placed) -> None: ...

    @module.on(Pinged)
    async def pinged(event: Pinged) -> None: ...

    @other.on(Pinged, id="other.pinged")
    async def elsewhere(event: Pinged) -> None: ...

    events = await stage.idle(module, other)
    await events.publish(Pinged())
    await events.drain_once()
    assert notes == ["shop attempts", "shop handles", "shop handled", "shop attempted"]


async def test_that_of_the_instance_is_around_its_own_handlers_once(stage: Stage) -> None:
    notes: list[str] = []
    events = stage.make(middleware=[Noting("all", notes)])

    @events.on(Placed)
    async def handle(event: Placed) -> None: ...

    await events.start(drains=False)
    await events.publish(Placed(order="a"))
    notes.clear()
    await events.drain_once()
    assert notes == ["all attempts", "all handles", "all handled", "all attempted"]


async def test_a_handler_without_middleware_keeps_the_short_way(stage: Stage) -> None:
    class Outside(Middleware):
        async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
            await call_next(context)

    class Inside(Middleware):
        async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
            await call_next(context)

    module = Module("shop")

    @module.on(Placed)
    async def simple(event: Placed) -> None: ...

    @module.on(Placed)
    async def direct(event: Placed, publish: EventPublisher, delivery: Delivery) -> None: ...

    @module.on(Placed, middleware=[Outside()])
    async def watched(event: Placed) -> None: ...

    @module.on(Placed, middleware=[Inside()])
    async def wrapped(event: Placed) -> None: ...

    handlers = (await stage.idle(module)).runtime.plan.handlers
    simple_, direct_, watched_, wrapped_ = handlers.values()
    for plain in (simple_, direct_):
        assert plain.inside is plain.outside is plain.publishing is None
        assert not plain.sets_clock
    assert simple_.simple
    assert [name for name, _ in direct_.direct] == ["publish", "delivery"]
    assert watched_.simple
    assert watched_.inside is watched_.publishing is None
    assert watched_.outside is not None
    assert not wrapped_.simple
    assert wrapped_.outside is None


async def test_the_chain_is_folded_once_for_all_events() -> None:
    folded: list[str] = []
    notes: list[str] = []

    async def core(context: HandleContext) -> None: ...

    def around(name: str, hook: object, inner: object) -> object:
        folded.append(name)
        return inner

    fold([Noting("a", notes), Middleware(), Noting("b", notes)], "handle", core, around)
    assert folded == ["Noting.handle()", "Noting.handle()"]
    assert fold([Middleware()], "handle", core, around) is None
