"""What the demonstration shows: one line that changes, and a summary at the end."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table

from example_app.demo.figures import Figures
from example_app.demo.traffic import Traffic

EVERY = 5
"""Where the output is no terminal, one status in so many becomes a line."""

MOST_PROBLEMS = 20


class Screen:
    """Writes to standard output: in place on a terminal, else now and then a line."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, soft_wrap=True)
        self._status: Status | None = None
        self._calls = 0

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text)

    @contextmanager
    def live(self) -> Generator[None]:
        """Show ``status`` for as long as the context lasts."""
        with self._console.status("…") as self._status:
            yield
        self._status = None

    def status(self, traffic: Traffic, figures: Figures, note: str = "") -> None:
        """Show where things are."""
        text = (
            f"{len(traffic.accepted):,} orders, {traffic.refused:,} refused · {figures.published:,} events published, "
            f"{figures.handled} handled, {figures.retried} retried, {figures.dead} dead{note}"
        )
        if self._console.is_terminal and self._status is not None:
            self._status.update(text)
        elif self._calls % EVERY == 0:
            self.say(text)
        self._calls += 1

    def summary(self, traffic: Traffic, figures: Figures, work: Mapping[str, int], problems: Sequence[str]) -> None:
        """Print what happened, and whether the shop kept its promises."""
        table = Table("", "", show_header=False, box=None, pad_edge=False)
        table.columns[1].justify = "right"
        for name, value in {
            "orders accepted": len(traffic.accepted),
            **work,
            "requests refused and rolled back": traffic.refused,
            "events published": figures.published,
            "deliveries handled": figures.handled,
            "deliveries retried": figures.retried,
            "dead letters": figures.dead,
        }.items():
            table.add_row(name, f"{value:,}")
        self._console.print(table)
        for problem in problems[:MOST_PROBLEMS]:
            self._console.print(f"✗ {problem}", style="red")
        if len(problems) > MOST_PROBLEMS:
            self._console.print(f"✗ … and {len(problems) - MOST_PROBLEMS:,} more", style="red")
        if not problems:
            self._console.print(
                "✓ Every order has exactly the effects it should have, every restock and report too.", style="green"
            )
