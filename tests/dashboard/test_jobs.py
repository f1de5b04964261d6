"""Pages about jobs: what they show of runs, jobs and schedules, and what they do."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio

from tests.dashboard.ground import by_header
from tests.dashboard.test_actions import hidden_fields
from tests.dashboard.works import API, PAGES, Restock, Works, works_on

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LIVE = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "div#live"}


@pytest_asyncio.fixture
async def works(clean_database: str) -> AsyncIterator[Works]:
    async with works_on(clean_database) as works:
        yield works


async def post(client: httpx.AsyncClient, path: str, fields: Any) -> httpx.Response:
    return await client.post(f"{PAGES}{path}", content=urlencode(fields), headers=FORM)


async def acted(client: httpx.AsyncClient, action: str, *more: tuple[str, str], **query: Any) -> str:
    """Ask, confirm, and return the page that tells what became of it."""
    asks = await client.get(f"{PAGES}/runs/confirm", params={"action": action, **query})
    assert asks.status_code == 200, asks.text
    fields = [(name, html.unescape(value)) for name, value in hidden_fields(asks.text)]
    done = await post(client, f"/runs/{action}", [*fields, ("reason", "agreed with ops"), *more])
    assert done.status_code == 303, done.text
    return (await client.get(done.headers["location"])).text


async def test_every_room(works: Works) -> None:
    shown = {
        "": ["inventory.restock has 2 dead runs", "2 of jobs"],
        "/runs": ["inventory.restock", "orders.fulfil", "LookupError", "source:schedule", "nightly"],
        f"/runs/{works.runs['bad']}": ["no supplier has Z-9", "quote", "Retry…", "Edit input…", "sku/Z-9"],
        f"/runs/{works.runs['good']}": ["PO-A-1-250", "confirm", "checkpoint", "2 of 3", "Replay…"],
        f"/runs/{works.runs['tree']}": ["It waits for the signal paid", "orders.pick", "<h2>Tree</h2>"],
        f"/runs/{works.runs['triggered']}": ["by inventory.restock"],
        "/jobs": ["inventory.restock", "interactive", "no process", "Pause…"],
        "/schedules": ["reports.nightly", "0 6 * * *", "Europe/Berlin", "Run now…"],
        "/dead-letters": ["0 of handlers, 2 of jobs", "no supplier has Z-9", "Retry all…"],
    }
    async with works.client() as client:
        for path, words in shown.items():
            page = await client.get(f"{PAGES}{path}")
            assert page.status_code == 200, (path, page.text)
            assert [word for word in words if word not in page.text] == [], path
            assert "sesame" not in page.text, path


async def test_rooms_of_an_application_without_jobs(clean_database: str, works: Works) -> None:
    await works.stage.rows("DELETE FROM events.schedule")
    for table in ("run_queue", "run_end", "run_step", "run_progress", "run_attempt", "run"):
        await works.stage.rows(f"DELETE FROM events.{table}")
    await works.stage.rows("DELETE FROM events.job")
    async with works.client() as client:
        assert "/dashboard/runs" not in (await client.get(PAGES)).text, "rooms that nobody needs are not shown"
        for path, words in {
            "/runs": "jobs.start(",
            "/jobs": "@inventory.job(",
            "/schedules": "@reports.every(",
        }.items():
            page = await client.get(f"{PAGES}{path}")
            assert page.status_code == 200
            assert words in page.text


async def test_runs_are_filtered_and_paged(works: Works) -> None:
    await works.events.jobs.start_many(works.jobs["restock"], [Restock(sku=f"A-{n}") for n in range(60)], tags=["new"])
    async with works.client() as client:
        first = (await client.get(f"{PAGES}/runs")).text
        assert first.count('class="row"') == 50
        cursor = first.split("cursor=")[1].split('"')[0]
        second = (await client.get(f"{PAGES}/runs", params={"cursor": cursor})).text
        assert second.count('class="row"') == 20
        assert "Newest" in second
        assert "no supplier has Z-9" in second
        for where, number in (
            ("state:dead", 2), ("job:orders.fulfil", 1), ("pool:interactive", 3), ("scope:sku/Z-9", 1),
            ("source:event", 1), ("source:parent", 2), ("job:inventory.restock tag:nightly", 1), ("state:completed", 5),
            ("after:1h state:failed", 2), ("before:1h", 0),
        ):  # fmt: skip
            page = await client.get(f"{PAGES}/runs", params={"filter": where})
            assert page.text.count('class="row"') == number, where
        for where, problem in (("state:gone", "does not exist"), ("tag:new", "no index"), ("handler:x", "no key of")):
            page = await client.get(f"{PAGES}/runs", params={"filter": where})
            assert page.status_code == 422
            assert problem in page.text
        fragment = await client.get(f"{PAGES}/runs", headers=LIVE)
        assert "<html" not in fragment.text
        again = await client.get(f"{PAGES}/runs", headers=LIVE | {"If-None-Match": fragment.headers["etag"]})
        assert again.status_code in (200, 304)


async def test_a_dead_run_is_retried_from_its_page(works: Works) -> None:
    works.suppliers.add("Z-9")
    async with works.client() as client:
        told = await acted(client, "retry", id=str(works.runs["bad"]), back="run")
        assert "It begins anew." in told
        assert await works.state("bad") == "pending"
        await works.events.drain_once()
        assert await works.state("bad") == "completed"
        [retried] = [
            one for one in (await client.get(f"{API}/actions")).json()["actions"] if one["action"] == "retry_runs"
        ]
        assert retried["details"]["reason"] == "agreed with ops"
        told = await acted(client, "retry", id=str(works.runs["bad"]), back="run")
        assert "Nothing was changed" in told


async def test_all_dead_ones_that_match_are_discarded(works: Works) -> None:
    where = {"all": "true", "filter": "job:inventory.restock state:dead"}
    async with works.client() as client:
        asks = await client.get(f"{PAGES}/runs/confirm", params={"action": "discard", **where})
        assert "Discard 2 runs of inventory.restock?" in asks.text
        fields = [(name, html.unescape(value)) for name, value in hidden_fields(asks.text)]
        refused = await post(client, "/runs/discard", fields)
        assert refused.status_code == 422
        assert "reason" in refused.text
        told = await acted(client, "discard", back="dead-letters", **where)
        assert "2 runs were discarded." in told
        assert "No dead letters" in told
        page = (await client.get(f"{PAGES}/runs/{works.runs['bad']}")).text
        assert "failed, discarded" in page
        assert "agreed with ops" in page
        gone = await client.get(f"{PAGES}/runs/confirm", params={"action": "discard", **where})
        assert gone.status_code == 422
        assert "No run matches this filter any more" in gone.text


async def test_what_comes_after_the_question_is_left_alone(works: Works) -> None:
    async with works.client() as client:
        query = {"action": "cancel", "all": "true", "filter": "job:inventory.restock state:pending"}
        asks = await client.get(f"{PAGES}/runs/confirm", params=query)
        assert "Cancel 2 runs of inventory.restock?" in asks.text
        await works.events.jobs.start(works.jobs["restock"], Restock(sku="late"))
        fields = [(name, html.unescape(value)) for name, value in hidden_fields(asks.text)]
        done = await post(client, "/runs/cancel", fields)
        assert "2 runs were cancelled" in (await client.get(done.headers["location"])).text
    assert [await works.state(one) for one in ("later", "ready")] == ["canceled", "canceled"]
    [left] = (await works.events.observe.runs("job:inventory.restock state:pending")).runs
    assert left.scope_id == "late"


@pytest.mark.parametrize(("place", "done"), [("scratch", 3), ("last_checkpoint", 1)])
async def test_a_completed_run_is_replayed_from_a_place(works: Works, place: str, done: int) -> None:
    async with works.client() as client:
        told = await acted(client, "replay", ("from", place), id=str(works.runs["good"]), back="run")
        assert "It begins again." in told
        run = await works.events.observe.run(works.runs["good"])
        assert run is not None
        assert run.state == "pending"
        assert len([step for step in run.steps if step.kind == "step"]) == 3 - done
        wrong = await post(client, "/runs/replay", {"id": works.runs["good"], "from": "here"})
        assert wrong.status_code == 422


async def test_a_run_gets_another_input_whose_secret_nobody_has_seen(works: Works) -> None:
    path, edited = f"/runs/{works.runs['bad']}/edit", '{"sku": "B-2", "quantity": 24, "supplier_key": "••••••"}'
    async with works.client() as client:
        form = await client.get(f"{PAGES}{path}")
        assert "Z-9" in form.text
        assert "sesame" not in form.text
        for text, problem in (('{"sku": 7}', "sku"), ("{", "no JSON"), ('{"sku": "••••••"}', "it has none there")):
            refused = await post(client, path, {"input": text, "reason": "x"})
            assert refused.status_code == 422, text
            assert problem in refused.text
            assert html.escape(text, quote=False).replace("&lt;", "<")[:4] in html.unescape(refused.text), "still there"
        assert await works.state("bad") == "failed"
        done = await post(client, path, {"input": edited, "from": "scratch", "reason": "a typo"})
        assert done.status_code == 303, done.text
        assert "with the new input" in (await client.get(done.headers["location"])).text
        await works.events.drain_once()
        assert await works.state("bad") == "completed"
        stored = await works.stage.value("SELECT input FROM events.run WHERE id = $1", works.runs["bad"])
        assert "sesame-4711" in stored
        page = (await client.get(f"{PAGES}/runs/{works.runs['bad']}")).text
        assert "Replaced" in page
        assert "sesame" not in page
        late = await client.get(f"{PAGES}{path}")
        assert "by now this one is completed" in late.text


async def test_what_a_run_has_said(works: Works) -> None:
    path = f"{PAGES}/runs/{works.runs['good']}"
    async with works.client() as client:
        page = (await client.get(path)).text
        assert "asked the supplier" in page
        assert "250" in page
        log = (await client.get(f"{path}/logs", params={"level": "warning"})).text
        assert "asked the supplier" not in log
        assert "the price has risen" in log
        await works.stage.rows(
            "INSERT INTO events.run_log (run_id, said_at, level, message, attempt) "
            "SELECT l.run_id, l.said_at, l.level, 'line ' || n, 1 "
            "FROM (SELECT * FROM events.run_log WHERE run_id = $1 LIMIT 1) l, generate_series(1, 300) n ORDER BY n",
            works.runs["good"],
        )  # fmt: skip
        newest = (await client.get(f"{path}/logs")).text
        assert newest.count('<li id="line-') == 200
        older = newest.split("before=")[1].split('"')[0]
        before = (await client.get(f"{path}/logs", params={"before": older})).text
        assert before.count('<li id="line-') == 102
        assert "asked the supplier" in before
        nobody = f"{PAGES}/runs/01a1fd14-aa10-74a7-a53f-8718d62eae79/logs"
        assert (await client.get(nobody)).status_code == 404


async def test_a_job_is_paused_and_goes_on(works: Works) -> None:
    async with works.client() as client:
        for act, told, again in (
            ("pause", "It is paused.", "paused already"),
            ("resume", "It goes on.", "was not paused"),
        ):
            asks = await client.get(f"{PAGES}/jobs/confirm", params={"action": act, "job": "inventory.restock"})
            assert f"{act.capitalize()} inventory.restock?" in asks.text
            fields = [*hidden_fields(asks.text), ("reason", "agreed")]
            for words in (told, again):
                done = await post(client, f"/jobs/{act}", fields)
                assert words in (await client.get(done.headers["location"])).text
            [job] = [job for job in await works.events.observe.jobs() if job.name == "inventory.restock"]
            assert (job.paused_at is not None) == (act == "pause")
        stranger = await client.get(f"{PAGES}/jobs/confirm", params={"action": "pause", "job": "nobody"})
        assert (stranger.status_code, "no job" in stranger.text) == (409, True)


async def test_a_schedule_says_why_its_last_tick_has_started_nothing(works: Works) -> None:
    [schedule] = await works.events.observe.schedules()
    await works.stage.rows(
        "UPDATE events.schedule SET last_tick_at = clock_timestamp(), "
        "last_note = 'rejected: <b>1 run</b> had not ended'"
    )
    async with works.client() as client:
        page = (await client.get(f"{PAGES}/schedules/{schedule.id}")).text
    assert "Its last tick has started no run: rejected: &lt;b&gt;1 run&lt;/b&gt; had not ended." in page


async def test_a_pool_does_more_at_once_until_it_is_reset(works: Works) -> None:
    async with works.client() as client:
        asks = await client.get(f"{PAGES}/pools/confirm", params={"action": "set", "pool": "batch"})
        assert "How much shall batch do at once?" in asks.text
        fields = [*hidden_fields(asks.text), ("reason", "agreed")]
        for number, status in (("", 422), ("many", 422), ("0", 409), ("10001", 409)):
            assert (await post(client, "/pools/set", [*fields, ("concurrency", number)])).status_code == status, number
        for told in ("so many at work at once", "it was so already"):
            done = await post(client, "/pools/set", [*fields, ("concurrency", "9")])
            page = (await client.get(done.headers["location"])).text
            assert told in page
            assert "set to 9" in page
        done = await post(client, "/pools/reset", fields)
        page = (await client.get(done.headers["location"])).text
        assert "settings holds again" in html.unescape(page)
        assert "set to 9" not in page
        stranger = await client.get(f"{PAGES}/pools/confirm", params={"action": "set", "pool": "nobody"})
        assert (stranger.status_code, "no pool" in stranger.text) == (409, True)
        assert (await post(client, "/pools/set", {"concurrency": "9"})).status_code == 422


async def test_a_schedule_is_run_paused_and_resumed(works: Works) -> None:
    [schedule] = await works.events.observe.schedules()
    path = f"/schedules/{schedule.id}"
    async with works.client() as client:
        page = (await client.get(f"{PAGES}{path}")).text
        assert page.count("<li><time") == 5, "the next ticks"
        assert "It has not ticked yet." in page
        for act, told in (("pause", "It is paused."), ("resume", "It goes on.")):
            asks = await client.get(f"{PAGES}{path}/confirm", params={"action": act})
            assert f"{act.capitalize()} reports.nightly?" in asks.text
            done = await post(client, f"{path}/change", {"action": act, "reason": "agreed"})
            told_page = (await client.get(done.headers["location"])).text
            assert told in told_page
            assert ("starts nothing until" in told_page) == (act == "pause")
        done = await post(client, f"{path}/change", {"action": "run"})
        run = await client.get(done.headers["location"])
        assert "reports.nightly" in run.text
        assert len((await works.events.observe.runs("job:reports.nightly")).runs) == 2
        assert (await post(client, f"{path}/change", {"action": "stop"})).status_code == 422
        assert (await client.get(f"{PAGES}/schedules/{schedule.id + 1}")).status_code == 404
        assert (await client.get(f"{PAGES}/schedules/0")).status_code == 422


async def test_ticks_and_those_that_started_nothing(works: Works) -> None:
    [schedule] = await works.events.observe.schedules()
    async with works.client() as client:
        for days in (3, 1):
            await works.stage.rows(
                "UPDATE events.schedule SET next_at = date_trunc('day', clock_timestamp()) - make_interval(days => $1) "
                "+ interval '5 hours'", days,
            )  # fmt: skip
            run = await works.events.operations.run_schedule_now(schedule.name, actor="x")
            await works.stage.rows(
                "UPDATE events.run SET source = 'schedule', schedule_id = $2, "
                "scheduled_for = (SELECT next_at FROM events.schedule) WHERE id = $1", run, schedule.id,
            )  # fmt: skip
        page = (await client.get(f"{PAGES}/schedules/{schedule.id}")).text
    assert page.count("started nothing") == 1
    assert page.count('id="tick-') == 2


async def test_who_sees_and_may_do_what(clean_database: str) -> None:
    async with works_on(clean_database, by_header) as works:
        good, bad = (f"{PAGES}/runs/{works.runs[one]}" for one in ("good", "bad"))
        async with works.client(**{"X-Permissions": "view"}) as client:
            for path in (good, bad, f"{PAGES}/runs", f"{PAGES}/jobs", f"{PAGES}/schedules", f"{PAGES}/dead-letters"):
                page = (await client.get(path)).text
                for word in ("/confirm", "/edit", "Retry", "Discard", "Pause…", "Run now", "Set…"):
                    assert word not in page, (path, word)
            page = (await client.get(good)).text
            assert "A-1" in page, "the scope is no payload"
            assert "quantity" not in page
            assert "Nordwind" not in page
            assert "cents" not in page, "fields of lines may say what is in the input"
            assert page.count("needs the permission <code>view_payload</code>") >= 3
        async with works.client(**{"X-Permissions": "view,edit"}) as client:
            form = (await client.get(f"{bad}/edit")).text
            assert "Z-9" not in form.split("<textarea")[1].split("</textarea>")[0]
            assert "Write the whole of the new one" in form
            assert "/edit" in (await client.get(bad)).text
            done = await client.post(f"{bad}/edit", content=urlencode({"input": '{"sku": "B-2"}'}), headers=FORM)
            assert done.status_code == 303
        async with works.client(**{"X-Permissions": "view,view_payload"}) as client:
            page = (await client.get(good)).text
            assert "Nordwind" in page
            assert "sesame" not in page


async def test_what_cannot_be_asked_or_done(works: Works) -> None:
    nobody = "01a1fd14-aa10-74a7-a53f-8718d62eae79"
    async with works.client() as client:
        for query, status, reason in (
            ({"action": "retry"}, 422, "Nothing is selected"),
            ({"action": "retry", "all": "true"}, 422, "needs a filter"),
            ({"action": "retry", "all": "true", "filter": "state:pending"}, 422, "runs are retried that are"),
            ({"action": "replay", "all": "true", "filter": "state:dead"}, 422, "Nothing is selected"),
            ({"action": "explode", "id": nobody}, 422, "Input should be"),
            ({"action": "cancel", "id": nobody}, 404, "There is no run"),
        ):
            answer = await client.get(f"{PAGES}/runs/confirm", params=query)
            assert answer.status_code == status, query
            assert reason in answer.text
        for fields, status in (({}, 422), ({"id": "x"}, 422), ({"id": nobody}, 404), ({"filter": "state:dead"}, 422)):
            assert (await post(client, "/runs/cancel", fields)).status_code == status, fields
        assert (await client.get(f"{PAGES}/runs/{nobody}")).status_code == 404
        assert (await client.get(f"{PAGES}/runs/{nobody}/edit")).status_code == 404


async def test_the_event_says_which_runs_it_has_started(works: Works) -> None:
    [event] = (await works.events.observe.events("name:inventory.stock.low")).events
    async with works.client() as client:
        page = (await client.get(f"{PAGES}/events/{event.id}")).text
    assert "Runs that it started" in page
    assert f"/runs/{works.runs['triggered']}" in page
