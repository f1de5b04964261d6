"""``python -m benchmarks``: run the chosen points and print a Markdown report.

The report goes to standard output, progress to standard error. The exit status is 1 when a point could not be
measured; a bound that is missed is in the report and changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from benchmarks import points, subjects
from benchmarks.report import heading, section
from benchmarks.server import serve
from benchmarks.stage import Stage

ROUNDS = 9
QUICK_ROUNDS = 2


def _some_of(
    known: Sequence[str], groups: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        words = [word.strip() for word in text.split(",") if word.strip()]
        chosen = tuple(name for word in words for name in groups.get(word, (word,)))
        strangers = [name for name in chosen if name not in known]
        if strangers or not chosen:
            choice = ", ".join((*groups, *known))
            raise argparse.ArgumentTypeError(f"{text!r}: choose among {choice}, separated by commas")
        return chosen

    return parse


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds per point (default {ROUNDS})")
    parser.add_argument("--points", type=_some_of(points.NAMES, points.GROUPS), default=points.NAMES, metavar="A,B,…")
    parser.add_argument("--subjects", type=_some_of(subjects.NAMES), default=subjects.NAMES, metavar="A,B,…")
    parser.add_argument(
        "--quick", action="store_true", help=f"small sizes and {QUICK_ROUNDS} rounds: to try it out, not to quote"
    )
    parser.add_argument("--database-url", help="a server that may be loaded heavily (default: an embedded one)")
    parser.epilog = f"points: {', '.join((*points.GROUPS, *points.NAMES))}. subjects: {', '.join(subjects.NAMES)}."
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> int:
    rounds: int = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="fastapi-events-bench-") as folder:
        async with serve(arguments.database_url) as server:
            stage = Stage(server, rounds, arguments.quick, arguments.subjects, Path(folder))
            _print(heading(await server.facts(), " ".join(sys.argv[1:])))
            for name in arguments.points:
                alone = points.ALONE.get(name)
                if alone is not None and alone not in stage.subjects:
                    _print(f"## {name}\n\nSkipped: it measures {alone} alone, which takes no part in this run.")
                else:
                    failures += await _measure(name, stage)
    return 1 if failures else 0


async def _measure(name: str, stage: Stage) -> int:
    try:
        _print(section(await points.point(name)(stage)))
    except Exception:  # noqa: BLE001 - one point's failure is reported, and must not cost the others' results
        traceback.print_exc()
        _print(f"## {name}\n\n**Not measured**: {traceback.format_exc(limit=0).strip().splitlines()[-1]}")
        return 1
    return 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(_arguments())))
