"""What the demonstration writes: where it works, and figures without blanks behind them."""

import pytest

from example_app.demo.__main__ import whereabouts


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ana:s3cret@db.example:5433/shop", "db.example:5433/shop"),
        ("postgresql+asyncpg://ana:p%40ss@db/shop?password=s3cret", "db/shop"),
        ("postgresql://ana:a@b@db/shop", "db/shop"),
        ("postgresql://postgres@/events_app?host=/tmp/pg", "/tmp/pg/events_app"),
        ("postgresql://localhost", "localhost/(that of the user)"),
        ("postgresql://one:1,two:2/shop", "one:1,two:2/shop"),
    ],
)
def test_a_database_is_told_without_its_password(url: str, shown: str) -> None:
    assert whereabouts(url) == shown


def test_the_summary_has_no_blanks_at_the_end(
    shop_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in shop_environment.items():
        monkeypatch.setenv(name, value)
    from example_app.demo.figures import Figures
    from example_app.demo.screen import Screen
    from example_app.demo.traffic import Traffic

    Screen().summary(Traffic("run"), Figures(published=1200), {"  confirmed": 3}, [])
    lines = capsys.readouterr().out.splitlines()
    assert "1,200" in "".join(lines)
    assert [line for line in lines if line != line.rstrip()] == []
