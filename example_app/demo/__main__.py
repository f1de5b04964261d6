"""``python -m example_app.demo [--seconds N]``: see the shop at work, until Ctrl-C or for N seconds.

Ends with status 0 if the shop kept its promises, 1 if it broke one or could not be started.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


def main() -> int:
    """Prepare database and environment, then let the play begin."""
    options = _options()
    with _folder() as folder, _database(folder) as url:
        os.environ.update(
            EVENTS_DEV="1",
            EVENTS_DATABASE_URL=url,
            EVENTS_AUTO_UPGRADE="1",
            SHOP_INVOICE_FOLDER=str(folder / "invoices"),
        )
        # Only now: the shop reads its settings when it is imported.
        from example_app.demo.play import play

        return asyncio.run(play(folder, seconds=options.seconds, per_second=options.rate))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m example_app.demo", description="The example shop at work.")
    parser.add_argument("--seconds", type=float, help="end by itself after so many seconds of traffic")
    parser.add_argument("--rate", type=float, default=10, help="orders per second (default: 10)")
    return parser.parse_args()


@contextmanager
def _folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="example-shop-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def whereabouts(url: str) -> str:
    """Host and name of a database, and nothing else of its URL: there may be a password in it."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ["localhost"]))
    return f"{hosts}/{unquote(parts.path).strip('/') or '(that of the user)'}"


@contextmanager
def _database(folder: Path) -> Generator[str]:
    """The database that ``EVENTS_DATABASE_URL`` names, else one on an embedded server, gone at the end."""
    given = os.environ.get("EVENTS_DATABASE_URL")
    if given and given != "embedded":
        print(f"Using the database {whereabouts(given)} of EVENTS_DATABASE_URL, as long as it is set.")
        print(
            "  The shop makes a schema 'shop' there, and the library its own; both stay when the demo ends.", flush=True
        )
        yield given
        return
    from fastapi_events.embedded import EmbeddedServer

    server = EmbeddedServer()
    print("Starting a PostgreSQL server …", flush=True)
    url = server.start(folder / "postgresql", database="shop")
    try:
        yield url
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
