"""Standard output: tables and facts for people, JSON for scripts, and nothing that a terminal would obey.

On a terminal a table fits the width: columns marked ``wide`` are left out below 120 characters, long cells fold. Into a
pipe or file everything is printed, unfolded and without colour.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 120
"""Characters from which on a terminal shows every column."""
_GAP = "  "
_NARROWEST = 12
"""Characters to which a column may be folded."""
# C0 and C1 control characters, bidirectional overrides, odd line ends and lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
STYLES = {
    **dict.fromkeys(("dead", "fail", "retired", "failed", "timed_out"), "red"),
    **dict.fromkeys(("waiting", "missing", "warn", "running", "retry"), "yellow"),
    **dict.fromkeys(("done", "ok", "live", "completed"), "green"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: what it shows of a row; ``whole`` is never folded, ``wide`` is left out where there is no room."""

    title: str
    of: Callable[[Any], object]
    whole: bool = False
    wide: bool = False
    right: bool = False


def clean(text: object, *, lines: bool = False) -> str:
    """A stored text with everything that a terminal would act on made visible; ``lines`` keeps line ends and tabs."""
    kept = "\n\t" if lines else ""
    return _UNSAFE.sub(lambda match: match[0] if match[0] in kept else _visible(match[0]), str(text))


def _visible(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def print_json(value: Any) -> None:
    """A value, made of models and plain values, as JSON of several lines."""
    text = json.dumps(to_jsonable_python(value), indent=2, ensure_ascii=False)
    # JSON leaves all but the first thirty-two control characters as they are.
    text = re.sub(_UNSAFE, lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)
    _write(text)


def print_table(columns: Sequence[Column], rows: Sequence[Any], *, empty: str) -> None:
    """One line per row under a line of titles; ``empty`` is said where there is none."""
    if not rows:
        say(empty)
        return
    if not sys.stdout.isatty():
        _print_plain(columns, rows)
        return
    from rich.table import Table
    from rich.text import Text

    console = _console()
    shown = [column for column in columns if not column.wide or console.width >= WIDE]
    cells = [[_cell(column, row) for column in shown] for row in rows]
    widths = _fitting(shown, cells, console.width)
    table = Table(box=None, padding=(0, len(_GAP), 0, 0), pad_edge=False, header_style="bold")
    for column, width in zip(shown, widths, strict=True):
        table.add_column(column.title, overflow="fold", justify="right" if column.right else "left", width=width)
    for line in cells:
        table.add_row(*(Text(text, style=STYLES.get(text, "")) for text in line))
    # Where not even the narrowest columns fit, the terminal breaks the lines: nothing is left out.
    needed = sum(widths) + len(_GAP) * len(widths)
    console.print(table, width=max(console.width, needed), crop=False, no_wrap=True, soft_wrap=True)


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """The columns' widths: as wide as their longest cell, the widest of those that may be folded cut to fit."""
    widths = [max(len(column.title), *(len(line[at]) for line in cells)) for at, column in enumerate(columns)]
    least = [
        width if column.whole or column.right else min(width, max(len(column.title), _NARROWEST))
        for width, column in zip(widths, columns, strict=True)
    ]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > room:
        spare = [width - low for width, low in zip(widths, least, strict=True)]
        if not any(spare):
            break
        widest = max((at for at, left in enumerate(spare) if left), key=lambda at: widths[at])
        widths[widest] -= 1
    return widths


def _print_plain(columns: Sequence[Column], rows: Sequence[Any]) -> None:
    lines = [[column.title for column in columns], *([_cell(column, row) or "-" for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        padded = [
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ]
        _write(_GAP.join(padded).rstrip())


def _cell(column: Column, row: Any) -> str:
    value = column.of(row)
    return "" if value is None else clean(value)


def print_facts(facts: Iterable[tuple[str, object]], *, indent: str = "") -> None:
    """Names and values, one a line; what is None is left out."""
    told = [(name, clean(value)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        say(f"{indent}{name.ljust(width)}{_GAP}{value}", style=STYLES.get(value, ""))


def say(text: str = "", *, style: str = "") -> None:
    """A line of text that holds no stored text, or one that has been cleaned."""
    if sys.stdout.isatty():
        from rich.text import Text

        _console().print(Text(text, style=style), soft_wrap=True)
    else:
        _write(text)


def say_hanging(lead: str, text: str, *, style: str = "") -> None:
    """A text after a lead; on a terminal, what does not fit goes on below where the text began."""
    if not sys.stdout.isatty():
        _write(lead + text.replace("\n", "\n" + " " * len(lead)))
        return
    width = max(_console().width - len(lead), 20)
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, width) or [""]]
    say(lead + lines[0], style=style)
    for line in lines[1:]:
        say(" " * len(lead) + line, style=style)


def title(text: str) -> None:
    """A heading, after an empty line."""
    say()
    say(text, style="bold")


def note(text: str) -> None:
    """A line beside the output, for people: on standard error."""
    sys.stderr.write(f"{clean(text)}\n")


def _console() -> Console:
    from rich.console import Console  # a worker, which prints no table, starts without it

    return Console(highlight=False, markup=False, emoji=False)


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
