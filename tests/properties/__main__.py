"""``python -m tests.properties``: the machine at full length, with a verdict."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

import asyncpg

from fastapi_events.embedded import EmbeddedServer
from tests.properties.running import ground_on, prepare, run, told
from tests.properties.twins import TWINS, plant

_QUICK = ("fsync = off", "full_page_writes = off", "autovacuum = off", "shared_buffers = '64MB'")


def main() -> int:
    options = _options()
    server = EmbeddedServer()
    with tempfile.TemporaryDirectory(prefix="events-properties-") as folder:
        url = server.start(Path(folder), database="properties")
        try:
            asyncio.run(_prepare(url))
            return _run(url, options)
        finally:
            server.stop()


def _run(url: str, options: argparse.Namespace) -> int:
    print(f"seed {options.seed}", flush=True)
    with ground_on(url) as ground, plant(options.twin):
        done = run(
            ground,
            examples=options.examples,
            steps=options.steps,
            number=options.seed,
            shrink=options.shrink,
            progress=True,
        )
    if done.problem is not None:
        print(told(done.problem))
    verdict = "FOUND A COUNTER-EXAMPLE" if done.problem is not None else "no counter-example"
    print(
        f"{verdict}: {done.examples} examples of up to {options.steps} steps, {done.calls} statements scheduled, "
        f"{done.seconds:.0f} s, seed {options.seed}" + (f", twin {options.twin}" if options.twin else "")
    )
    return int((done.problem is None) == (options.twin is not None))


async def _prepare(url: str) -> None:
    await prepare(url)
    connection = await asyncpg.connect(url)
    for setting in _QUICK:
        await connection.execute(f"ALTER SYSTEM SET {setting}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeats a run (default: by chance)")
    parser.add_argument("--twin", choices=sorted(TWINS), help="plant a defect, which has to be found")
    parser.add_argument(
        "--no-shrink", dest="shrink", action="store_false", help="show the first counter-example as it is"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
