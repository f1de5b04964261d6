"""Any sequence of publishing, savepoints, commits and rollbacks, against a model that is a stack of lists."""

from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events.api.publisher import SyncEventPublisher
from fastapi_events.api.session_binding import bind_async, bind_sync
from tests.publishing.shop import Counted, Item, Log, Noted, Port

STEPS = ["publish", "publish", "keyed", "serialized", "row", "flush", "savepoint", "savepoint", "release", "undo"]
steps = st.lists(st.sampled_from([*STEPS, "commit", "rollback"]), max_size=25)
NUMBERS = "SELECT payload->>'number' FROM events.event WHERE position > %d ORDER BY position"


class Model:
    """What must be committed in the end: one list per open scope, the lowest is the transaction's."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.open: list[list[int]] = [[]]

    def publish(self, number: int) -> None:
        self.open[-1].append(number)

    def end(self, step: str) -> None:
        if step == "savepoint":
            self.open.append([])
        elif step == "release":
            released = self.open.pop()
            self.open[-1] += released
        elif step == "undo":
            self.open.pop()
        elif step == "commit":
            self.committed += [number for scope in self.open for number in scope]
            self.open = [[]]
        elif step == "rollback":
            self.open = [[]]


class Run:
    """Does the steps to a session and to the model; steps that make no sense where they come are left out."""

    def __init__(self, port: Port, session: Session) -> None:
        self.session, self.publish, self.model = session, bind_sync(port, session), Model()
        self.savepoints: list[object] = []

    def do(self, number: int, step: str) -> None:
        if step in ("release", "undo") and not self.session.in_nested_transaction():
            return
        publish: SyncEventPublisher = self.publish
        match step:
            case "publish":
                publish(Noted(number=number))
            case "keyed":
                publish(Noted(number=number), event_id=uuid4())
            case "serialized":
                publish(Counted(item=number % 3, number=number))
            case "row":
                self.session.add(Item())
            case "flush":
                self.session.flush()
            case "savepoint":
                self.session.begin_nested()
            case "release":
                self.session.get_nested_transaction().commit()
            case "undo":
                self.session.get_nested_transaction().rollback()
            case "commit":
                self.session.commit()
            case _:
                self.session.rollback()
        if step in ("publish", "keyed", "serialized"):
            self.model.publish(number)
        self.model.end(step)


def committed_since(session: Session, position: int) -> list[int]:
    rows = session.connection().exec_driver_sql(NUMBERS % position).scalars().all()
    session.rollback()
    return [int(number) for number in rows]


def last_position(session: Session) -> int:
    position = session.connection().exec_driver_sql("SELECT coalesce(max(position), 0) FROM events.event").scalar_one()
    session.rollback()
    return position


def carry_out(port: Port, session: Session, sequence: list[str]) -> tuple[list[int], list[int]]:
    """What the log has, and what the model has, once the steps have been taken and the session was rolled back."""
    before = last_position(session)
    run = Run(port, session)
    for number, step in enumerate(sequence):
        run.do(number, step)
    session.rollback()
    return committed_since(session, before), run.model.committed


anything_goes = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anything_goes
@given(sequence=steps)
async def test_through_asyncpg(port: Port, sessions: async_sessionmaker[AsyncSession], sequence: list[str]) -> None:
    async with sessions() as session:
        stored, expected = await session.run_sync(lambda plain: carry_out(port, plain, sequence))
    assert stored == expected
    assert port.counted == {}


@anything_goes
@given(sequence=steps)
def test_through_psycopg(port: Port, sync_sessions: sessionmaker[Session], log: Log, sequence: list[str]) -> None:
    with sync_sessions() as session:
        stored, expected = carry_out(port, session, sequence)
    assert stored == expected
    assert port.counted == {}


@anything_goes
@given(sequence=steps)
async def test_awaited(port: Port, sessions: async_sessionmaker[AsyncSession], log: Log, sequence: list[str]) -> None:
    """The same through the awaitable publisher; here a session is closed with whatever is left."""
    before = max([row["position"] for row in await log.rows()], default=0)
    model = Model()
    async with sessions() as session:
        publish = bind_async(port, session)
        for number, step in enumerate(sequence):
            if step in ("release", "undo") and not session.in_nested_transaction():
                continue
            match step:
                case "publish":
                    await publish(Noted(number=number))
                case "keyed":
                    await publish(Noted(number=number), event_id=uuid4())
                case "serialized":
                    await publish(Counted(item=number % 3, number=number))
                case "row":
                    session.add(Item())
                case "flush":
                    await session.flush()
                case "savepoint":
                    await session.begin_nested()
                case "release":
                    await session.get_nested_transaction().commit()
                case "undo":
                    await session.get_nested_transaction().rollback()
                case "commit":
                    await session.commit()
                case _:
                    await session.rollback()
            if step in ("publish", "keyed", "serialized"):
                model.publish(number)
            model.end(step)
    rows = await log.fetch("SELECT payload->>'number' AS n FROM events.event WHERE position > $1 ORDER BY 1", before)
    assert sorted(int(row["n"]) for row in rows) == sorted(model.committed)
    assert port.counted.pop("uncommitted_publish", 0) == sum(map(len, model.open))
