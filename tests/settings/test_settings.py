"""Settings: defaults, sources, units, and every problem in one message."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import SettingsConfigDict

from fastapi_events.errors import SettingsError
from fastapi_events.settings import EventsSettings, redacted


def refusal(**values: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        EventsSettings(**values)
    return str(refused.value)


def test_defaults_are_the_documented_ones() -> None:
    settings = EventsSettings()
    assert settings.database_url is None
    assert (settings.db_schema, settings.group, settings.worker, settings.notify) == (
        "events",
        "app",
        "embedded",
        "after_commit",
    )
    assert (settings.lease, settings.heartbeat) == (10, 3)
    assert (settings.poll_interval, settings.poll_interval_degraded) == (5, 2)
    assert (settings.max_payload_size, settings.warn_payload_size) == (1024 * 1024, 64 * 1024)
    assert settings.processing_retention == timedelta(days=7).total_seconds()
    assert settings.history_retention == timedelta(days=30).total_seconds()
    assert settings.dead_letter_retention == settings.dedupe_retention == timedelta(days=90).total_seconds()
    assert settings.development is False
    assert settings.auto_upgrade is None


def test_environment_is_read_and_code_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_SCHEMA", "from_environment")
    monkeypatch.setenv("EVENTS_DEV", "1")
    monkeypatch.setenv("EVENTS_LANES", "inbound, outbound")
    monkeypatch.setenv("EVENTS_LEASE", "20.5")
    monkeypatch.setenv("EVENTS_EMBEDDED_DATA", "/srv/data")
    assert EventsSettings().db_schema == "from_environment"
    settings = EventsSettings(schema="from_code", lease=30)
    assert (settings.db_schema, settings.lease) == ("from_code", 30)
    assert settings.development is True
    assert settings.lanes == ("inbound", "outbound")
    assert settings.embedded_data == Path("/srv/data")
    assert EventsSettings(development=False).development is False


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_DATABASE_URL", "")
    monkeypatch.setenv("EVENTS_LEASE", "")
    assert EventsSettings().database_url is None
    assert EventsSettings().lease == 10


def test_a_subclass_may_read_a_dotenv_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("EVENTS_GROUP=shop\nOTHER=1\n")

    class FromFile(EventsSettings):
        model_config = SettingsConfigDict(env_file=dotenv)

    assert FromFile().group == "shop"


@pytest.mark.parametrize("value", [timedelta(minutes=1), 60, 60.0, "60"])
def test_durations_are_seconds_or_timedelta(value: object) -> None:
    assert EventsSettings(handler_timeout=value).handler_timeout == 60.0


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg", "POSTGRESQL"])
def test_one_spelling_of_the_database_url_for_all_drivers(scheme: str) -> None:
    assert EventsSettings(database_url=f"{scheme}://u@h:5433/db?host=/run").database_url == (
        "postgresql://u@h:5433/db?host=/run"
    )


def test_embedded_is_a_database_url() -> None:
    assert EventsSettings(database_url="embedded").database_url == "embedded"


def test_listener_goes_direct_or_not_at_all_behind_a_pooler() -> None:
    assert EventsSettings().listener_url("postgresql://db") == "postgresql://db"
    assert EventsSettings(pgbouncer=True).listener_url("postgresql://db") is None
    direct = EventsSettings(pgbouncer=True, listen_database_url="postgresql://direct")
    assert direct.listener_url("postgresql://db") == "postgresql://direct"


def test_degraded_polling_is_never_slower_than_polling() -> None:
    assert EventsSettings().degraded_interval == 2
    assert EventsSettings(poll_interval=0.5).degraded_interval == 0.5


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        EventsSettings().lease = 5


def test_every_problem_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_BATCH_SIZE", "many")
    monkeypatch.setenv("EVENTS_LEESE", "4")
    message = refusal(poll_interval=0, heartbeat=6, graup="x", schema="My Schema", group="a b", app="shop")
    assert (
        message
        == """\
8 settings are wrong:
- EVENTS_LEESE: there is no such setting; did you mean EVENTS_LEASE?
- graup: there is no such setting; did you mean group?
- schema (EVENTS_SCHEMA): it must be a lower-case SQL name (letters, digits, underscores; at most 63 of them), \
none of PostgreSQL's, not 'My Schema'. Correct or remove it.
- group (EVENTS_GROUP): it must be 1 to 63 letters, digits, dots, dashes or underscores, not 'a b'. \
Correct or remove it.
- app (EVENTS_APP): it must be module:attribute, such as shop.events:events, not 'shop'. \
Correct or remove it.
- poll_interval (EVENTS_POLL_INTERVAL): it must be greater than 0, not 0. Correct or remove it.
- batch_size (EVENTS_BATCH_SIZE): it must be a valid integer, not 'many'. Correct or remove it.
- heartbeat (EVENTS_HEARTBEAT): it must be less than half of lease, so that one late renewal loses nothing, \
but it is 6 s and lease is 10 s. Lower heartbeat or raise lease."""
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"heartbeat": 5}, "less than half of lease"),
        ({"lease": 6}, "less than half of lease"),
        ({"backoff_first": 10, "backoff_cap": 5}, "may not be below backoff_first"),
        ({"max_payload_size": 1000}, "warn_payload_size is|Lower warn_payload_size"),
        ({"lanes": ()}, "at least 1 item"),
        ({"lanes": "sideways"}, "'inbound', 'change' or 'outbound'"),
        ({"lease": float("nan")}, "finite number|greater than 0"),
        ({"lease": float("inf")}, "finite number"),
        ({"schema": "pg_catalog"}, "none of PostgreSQL's"),
        ({"schema": 'a"; drop'}, "lower-case SQL name"),
        ({"worker": "none"}, "'embedded' or 'standalone'"),
        (
            {"concurrency": "events_chnge=5"},
            r"'events_chnge'. Did you mean 'events_change'\? Given is 'events_chnge=5'. Correct or remove it\.",
        ),
        (
            {"concurrency": {"events_zzz": 5}},
            r"The pools of events are events_inbound, .*\. Given is .*'events_zzz': 5",
        ),
        ({"db_schema": "x"}, "did you mean schema"),
        ({"EVENTS_LEASE": 1}, "EVENTS_LEASE: there is no such setting; did you mean lease"),
        ({"zzz": 1}, "zzz: there is no such setting; remove it"),
    ],
)
def test_one_problem_is_named_with_its_mend(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected) as refused:
        EventsSettings(**values)
    assert str(refused.value).startswith("A setting is wrong:")


def test_a_contradiction_is_not_reported_of_a_value_that_is_wrong_anyway() -> None:
    assert "half of lease" not in refusal(lease=-1, heartbeat=6)


def test_variables_that_kubernetes_sets_for_a_service_called_events_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("EVENTS_SERVICE_HOST", "EVENTS_SERVICE_PORT_HTTP", "EVENTS_PORT", "EVENTS_PORT_80_TCP_ADDR"):
        monkeypatch.setenv(name, "10.0.0.1")
    EventsSettings()
    monkeypatch.setenv("EVENTS_SERVICE", "x")
    assert "EVENTS_SERVICE: there is no such setting" in refusal()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://app:hunter2@db/shop",
        "postgresql:hunter2",
        "hunter2",
        "postgresql://app:hunter2@db:port/shop",
        "postgresql://app:hun/ter2:hunter2@db/shop",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        EventsSettings(database_url=url, listen_database_url=url)
    shown = "".join(f"{error!r} {error}" for error in (refused.value, refused.value.__cause__))
    assert "hunter2" not in shown
    assert "database_url (EVENTS_DATABASE_URL)" in shown
    assert refused.value.__suppress_context__


def test_repr_shows_no_password() -> None:
    settings = EventsSettings(
        database_url="postgresql://app:hunter2@db/shop", listen_database_url="postgresql://db/shop?password=hunter2&x=1"
    )
    assert "hunter2" not in repr(settings) + str(settings)
    assert "postgresql://app:***@db/shop" in repr(settings)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://app:pa@s:s@db:5432/shop", "postgresql://app:***@db:5432/shop"),
        ("postgresql://app@db/shop", "postgresql://app@db/shop"),
        ("postgresql://postgres@/shop?host=/run/x", "postgresql://postgres@/shop?host=/run/x"),
        ("postgresql://db/shop?user=a&password=b", "postgresql://db/shop?user=a&password=***"),
    ],
)
def test_redacted(url: str, expected: str) -> None:
    assert redacted(url) == expected
