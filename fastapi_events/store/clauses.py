"""Statements as SQLAlchemy takes them, for every driver of PostgreSQL."""

from __future__ import annotations

import re

from sqlalchemy import TextClause, text


def clause(statement: str, *names: str) -> TextClause:
    """The statement with named parameters in place of ``$1``, ``$2`` …; no other colon begins one."""
    escaped = re.sub(r"\$(\d+)::text::(\w+)", r"CAST($\1 AS \2)", statement).replace(":", r"\:")
    return text(re.sub(r"\$(\d+)", lambda match: f":{names[int(match[1]) - 1]}", escaped))
