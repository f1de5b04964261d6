"""Documentation as a program: the pages' code blocks, and a project made of them.

A Python block whose first line is a comment with a path (``# shop/db.py``) is that file of the page's project; any
other Python block is a snippet. Snippets of a page run one after the other in one namespace and may ``await``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|ini))\n")


@dataclass(frozen=True)
class Block:
    """A fenced code block and the line that it begins in."""

    page: str
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The path that its first line names, if it names one."""
        named = _FILE.match(self.text)
        return named[1] if named else None


@cache
def page_names() -> tuple[str, ...]:
    """The README and every page of the documentation."""
    return ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str, *languages: str) -> Iterator[Block]:
    """The blocks of a page in these languages (all, if none is given)."""
    text = text_of(page)
    for match in _FENCE.finditer(text):
        if not languages or match["language"] in languages:
            line = text.count("\n", 0, match.start()) + 2
            yield Block(page, match["language"], textwrap.dedent(match["text"]), line)


def is_quotation(block: Block) -> bool:
    """Whether the lines stand in a file of the page as well, in the same order and with nothing between them."""
    lines = _lines(block.text)
    return any(lines in _lines(other.text) for other in blocks_of(block.page, "python") if other.file)


def _lines(text: str) -> str:
    return "\n".join(["", *filter(None, map(str.strip, text.splitlines())), ""])


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in page_names() for block in blocks_of(page, *languages)]


@dataclass
class Project:
    """A page's files in a folder of their own, and the names that its snippets have made."""

    page: str
    folder: Path
    names: dict[str, Any] = field(default_factory=dict)

    def write(self) -> Project:
        """Write the files; a path that is named twice is continued."""
        for block in blocks_of(self.page, "python", "ini"):
            if block.file:
                path = self.folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(block.text + "\n\n")
        return self

    @property
    def modules(self) -> list[str]:
        """The modules that the files make, in the order of the page."""
        files = (block.file for block in blocks_of(self.page, "python") if block.file)
        return list(dict.fromkeys(file.removesuffix(".py").replace("/", ".") for file in files if file.endswith(".py")))

    def load(self, module: str) -> ModuleType:
        """Import a module of the project."""
        return importlib.import_module(module)

    async def run_snippets(self) -> dict[str, Any]:
        """Run the page's snippets and return the names that they have made."""
        for block in blocks_of(self.page, "python"):
            if not block.file and not is_quotation(block):
                source = "\n" * (block.line - 1) + block.text
                code = compile(
                    source, str(ROOT / self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
                )
                result = eval(code, self.names)
                if inspect.isawaitable(result):
                    await result
        return self.names

    async def forget(self) -> None:
        """Close the engines that the project has made, and let the next page have modules of the same names."""
        tops = {module.partition(".")[0] for module in self.modules}
        for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
            for value in vars(sys.modules.pop(name)).values():
                if isinstance(value, AsyncEngine):
                    await value.dispose()
