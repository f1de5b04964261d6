"""Taking a restored copy of the log into use on another cluster.

Cursors and events carry transaction ids, which are a cluster's own: after a dump and restore elsewhere they would make
readers skip events. The library notices by the cluster's identifier and refuses to start until this has been run.
"""

from __future__ import annotations

from typing import Any

from fastapi_events.errors import SchemaOutOfDate
from fastapi_events.store.statements import Statements


async def rebase(connection: Any, schema: str = "events") -> None:
    """Rewrite transaction ids in one transaction: what was unhandled in the copy is handled here, once per group at
    least; what one group had handled and another had not is handled again by both.

    No worker may run meanwhile. It rewrites every row of the log: minutes for tens of millions.
    """
    statements = Statements(schema)
    async with connection.transaction():
        await connection.execute(statements["lock_cursors"])
        for name in ("rebase_log", "rebase_cursors", "rebase_rest"):
            await connection.execute(statements[name])


def check_cluster(installed: int, connected: int) -> None:
    """Raise ``SchemaOutOfDate`` if the log was made on another cluster than the one connected to."""
    if installed != connected:
        raise SchemaOutOfDate(
            f"This event log was made on the PostgreSQL cluster {installed} and is now on {connected}: a restored "
            "copy. Its transaction ids mean nothing here, and reading on could skip events. Stop every worker, then "
            "run 'fastapi-events db rebase'."
        )
