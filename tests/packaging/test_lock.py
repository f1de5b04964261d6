"""The lock file: complete, hashed, and free of anything that only one machine knows."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements-dev.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNLOCKED = {"all", "bench"}


def normal(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_every_direct_requirement_is_locked() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(need for extra in extras.keys() - UNLOCKED for need in extras[extra])]
    locked = {normal(line) for line in LOCK.splitlines() if "==" in line}
    assert {normal(requirement) for requirement in wanted} <= locked


def test_every_locked_package_has_a_hash() -> None:
    packages = re.split(r"\n(?=[a-z])", re.sub(r"(?m)^#.*\n", "", LOCK).strip())
    assert packages
    assert not [package for package in packages if "--hash=sha256:" not in package]


def test_it_names_no_host_and_no_folder() -> None:
    assert not re.search(r"://|^-|file:/|(?m:^/)", LOCK)
