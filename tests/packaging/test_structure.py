"""What linters don't know about this code base: where SQL lives, how long things get, what they are called."""

import ast
import gc
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = ("fastapi_events", "dashboard", "alembic")

LONGEST_FUNCTION = 50
LONGEST_FILE = 300
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "managers"}

VERBS = (
    "SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|CREATE|ALTER|DROP|TRUNCATE|LISTEN|UNLISTEN|NOTIFY|LOCK|COPY|BEGIN|SAVEPOINT"
)
SQL = re.compile(rf"^\s*({VERBS})\s|\bSELECT\s.+\sFROM\s|\bSET\s+LOCAL\s|\bpg_[a-z_]+\(", re.DOTALL)


def test_no_file_is_too_long() -> None:
    lengths = {name(path): len(text(path).splitlines()) for path in sources(*LIBRARY)}
    assert lengths
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{name(path)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in sources(*LIBRARY)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {function: length for function, length in lengths.items() if length > LONGEST_FUNCTION}


def test_no_module_is_a_drawer() -> None:
    drawers = [
        name(path)
        for path in sources(*LIBRARY, "example_app")
        if DRAWERS.intersection(re.split(r"[/_]", str(path.relative_to(ROOT).with_suffix(""))))
    ]
    assert not drawers


def test_sql_lives_in_the_store_alone() -> None:
    store = ROOT / "fastapi_events" / "store"
    elsewhere = [path for path in sources(*LIBRARY) if not path.is_relative_to(store)]
    assert not {name(path): found for path in elsewhere if (found := [*filter(SQL.search, strings(tree(path)))])}
    assert not [name(path) for path in elsewhere if imports_text(tree(path))]


def test_every_ignored_complaint_is_justified() -> None:
    ignored = {
        f"{name(path)}:{number}": line.strip()
        for path in sources(*LIBRARY)
        for number, line in enumerate(text(path).splitlines(), 1)
        if re.search(r"#\s*(type|pyright):", line)
    }
    justified = re.compile(r"ignore\[[\w,\- ]+\]\s+(#|-)\s*\w+")
    assert not {place: line for place, line in ignored.items() if not justified.search(line)}


def test_every_statement_file_is_used() -> None:
    code = "".join(text(path) for path in sources("fastapi_events"))
    files = sorted((ROOT / "fastapi_events" / "store" / "sql").rglob("*.sql"))
    assert files
    assert not [path.name for path in files if not re.search(rf"['\"/]{path.stem}(\.sql)?['\"]", code)]


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    # Python before 3.11.8 fails with SystemError when garbage, being collected, parses too (cpython#106905).
    gc.disable()
    try:
        return ast.parse(text(path))
    finally:
        gc.enable()


def strings(module: ast.Module) -> Iterator[str]:
    """Every string of the module but docstrings."""
    statements = [node.value for node in ast.walk(module) if isinstance(node, ast.Expr)]
    documentation = {id(value) for value in statements if isinstance(value, ast.Constant)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def imports_text(module: ast.Module) -> bool:
    """Whether SQLAlchemy's ``text`` is imported, with which SQL would be written in place."""
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] in {"sqlalchemy", "sqlmodel"}
        and any(alias.name == "text" for alias in node.names)
        for node in ast.walk(module)
    )
