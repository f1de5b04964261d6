"""Where an application's own source constructs an event class, found by reading it: nothing is run.

Names are followed through imports, aliases and re-exports, as they stand at the end of each module. A class that
arrives by another way (a variable, a dictionary, ``getattr``) is not found, and what is constructed is not always
published: whoever shows the result says so.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONSTRUCTORS = frozenset({"model_validate", "model_validate_json", "model_construct"})
_FURTHEST = 20
"""Re-exports that a name is followed through."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A call that makes the event. ``how``: as the argument of a ``publish`` call, of ``publish.raw``, or alone."""

    where: str
    function: str
    how: str


@dataclass(frozen=True, slots=True)
class Source:
    """One module's source: its names, which of them are others', and the modules that it takes all names from."""

    module: str
    path: Path
    tree: ast.Module
    names: Mapping[str, str]
    stars: tuple[str, ...]


def application_sources(modules: set[str]) -> dict[str, Source]:
    """The sources of the packages that these modules are in, by module; a module that is no package counts itself."""
    found: dict[str, Source] = {}
    for top in sorted({module.partition(".")[0] for module in modules}):
        for module, path in _files(top):
            source = _read(module, path)
            if source is not None:
                found[module] = source
    return found


def own_modules(named: set[str]) -> set[str]:
    """Those of the modules that are the application's own: not installed, not Python's, not this library's."""
    return {name for name in named if (path := _path_of(name)) is not None and not _is_installed(path)}


def _path_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


def _is_installed(path: Path) -> bool:
    foreign = {Path(sys.prefix), Path(sys.base_prefix)}
    library = Path(__file__).parents[1]
    installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    return installed or library in path.parents or any(prefix / "lib" in path.parents for prefix in foreign)


def _files(top: str) -> Iterator[tuple[str, Path]]:
    package: Any = sys.modules.get(top)
    for folder in map(Path, getattr(package, "__path__", ())):
        for path in sorted(folder.rglob("*.py")):
            parts = [top, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path
    alone = None if hasattr(package, "__path__") else _path_of(top)
    if alone is not None:
        yield top, alone


def _read(module: str, path: Path) -> Source | None:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    names: dict[str, str] = {}
    stars: list[str] = []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.partition(".")[0]: _imported(alias) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            stars += [origin for alias in node.names if alias.name == "*"]
            names |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names if alias.name != "*"}
    for node in tree.body:  # NewName = Imported
        if isinstance(node, ast.Assign) and (dotted := _dotted(node.value)):
            names |= {target.id: f"{module}.{dotted}" for target in node.targets if isinstance(target, ast.Name)}
    return Source(module, path, tree, names, tuple(stars))


def _imported(alias: ast.alias) -> str:
    return alias.name if alias.asname else alias.name.partition(".")[0]


def _origin(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return None


def publications(sources: Mapping[str, Source], target: str, name: str) -> list[Publication]:
    """Every call that constructs the class ``target`` (module and qualified name), and raw publishes of ``name``."""
    return [found for source in sources.values() for found in _Visitor(sources, source, target, name).found()]


class _Visitor(ast.NodeVisitor):
    def __init__(self, sources: Mapping[str, Source], source: Source, target: str, name: str) -> None:
        self._sources, self._source, self._target, self._name = sources, source, target, name
        self._scopes: list[str] = []
        self._publishing = 0
        self._found: list[Publication] = []

    def found(self) -> list[Publication]:
        self.visit(self._source.tree)
        return self._found

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node)

    def _inside(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._scopes.append(node.name)
        self.generic_visit(node)
        self._scopes.pop()

    def visit_Call(self, node: ast.Call) -> None:
        called = _dotted(node.func) or ""
        if self._is_target(called):
            self._add(node, "publish" if self._publishing else "construct")
        elif called.endswith(".raw") and node.args and _is_text(node.args[0], self._name):
            self._add(node, "raw")
        publishing = "publish" in called
        self._publishing += publishing
        self.generic_visit(node)
        self._publishing -= publishing

    def _add(self, node: ast.Call, how: str) -> None:
        function = ".".join([self._source.module, *self._scopes])
        self._found.append(Publication(f"{self._source.path}:{node.lineno}", function, how))

    def _is_target(self, called: str) -> bool:
        owner, _, method = called.rpartition(".")
        return self._names(called) or (method in CONSTRUCTORS and self._names(owner))

    def _names(self, dotted: str) -> bool:
        if not dotted or dotted.rpartition(".")[2] == "" or dotted.startswith("self."):
            return False
        return _resolved(self._sources, f"{self._source.module}.{dotted}", self._target)


def _is_text(node: ast.expr, text: str) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.replace(":", ".", 1) == text


def _resolved(sources: Mapping[str, Source], dotted: str, target: str, steps: int = _FURTHEST) -> bool:
    """Whether a dotted name leads to the target, through whichever modules hand it on."""
    if dotted == target:
        return True
    if not steps:
        return False
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        source = sources.get(".".join(parts[:length]))
        if source is None:
            continue
        name, rest = parts[length], parts[length + 1 :]
        given = source.names.get(name)
        if given is not None and given != dotted:
            return _resolved(sources, ".".join([given, *rest]), target, steps - 1)
        return any(_resolved(sources, ".".join([star, name, *rest]), target, steps - 1) for star in source.stars)
    return False
