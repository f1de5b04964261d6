"""Whatever a session does between two commits: its events are the difference that the commit makes to the table."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, SessionTransaction

from fastapi_events import Events
from tests.emits.book import Contact

ACTIONS = ("add", "add", "change", "change", "reset", "delete", "expire", "flush", "savepoint", "release", "roll back")
Step = tuple[str, int, int]
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.integers(0, 2)), max_size=14)

Table = dict[str, str]


class Run:
    """One session with the savepoints that are open in it."""

    def __init__(self, engine: Engine) -> None:
        self.session = Session(engine, expire_on_commit=False)
        self.savepoints: list[SessionTransaction] = []

    def take(self, step: Step) -> None:
        action, number, value = step
        name = f"{number}"
        if action == "savepoint":
            self.savepoints.append(self.session.begin_nested())
        elif action in ("release", "roll back"):
            if self.savepoints:
                savepoint = self.savepoints.pop()
                savepoint.commit() if action == "release" else savepoint.rollback()
        elif action == "flush":
            self.session.flush()
        else:
            self.touch(action, name, str(value))

    def touch(self, action: str, name: str, value: str) -> None:
        row = self.session.scalars(select(Contact).where(Contact.name == name)).one_or_none()
        if action == "add" and row is None:
            self.session.add(Contact(name=name, email=value))
        elif row is not None and action in ("change", "add"):
            row.email = value
        elif row is not None and action == "reset":
            row.email, row.email = "other", row.email
        elif row is not None and action == "delete":
            self.session.delete(row)
        elif row is not None and action == "expire":
            self.session.expire(row)
            row.email = value

    def commit(self) -> None:
        self.savepoints.clear()
        self.session.commit()


def table(engine: Engine) -> Table:
    with Session(engine) as session:
        return {str(row.id): row.email for row in session.scalars(select(Contact))}


def told(engine: Engine) -> list[tuple[str, str, str, Any]]:
    with engine.begin() as connection:
        rows = connection.exec_driver_sql("DELETE FROM events.event RETURNING position, name, payload").all()
    return [
        (name.rpartition(".")[2], payload["id"], payload["email"], payload.get("changes", {}).get("email"))
        for _, name, payload in sorted(rows)
    ]


def expected(before: Table, after: Table) -> set[tuple[str, str, str]]:
    return {
        *(("created", key, after[key]) for key in after.keys() - before.keys()),
        *(("updated", key, after[key]) for key in after.keys() & before.keys() if after[key] != before[key]),
        *(("deleted", key, "") for key in before.keys() - after.keys()),
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.lists(STEPS, min_size=1, max_size=3))
def test_events_are_the_difference_that_a_commit_makes(
    events: Events, sync_engine: Engine, transactions: list[list[Step]]
) -> None:
    run = Run(sync_engine)
    before = table(sync_engine)
    try:
        for steps in transactions:
            for step in steps:
                run.take(step)
            run.commit()
            after, seen = table(sync_engine), told(sync_engine)
            assert {(what, key, "" if what == "deleted" else email) for what, key, email, _ in seen} == expected(
                before, after
            )
            assert len(seen) == len({key for _, key, _, _ in seen})
            for what, key, _, change in seen:
                if what == "updated":
                    assert change == {"from": before[key], "to": after[key]}
            before = after
    finally:
        run.session.close()
