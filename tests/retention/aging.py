"""Making what a test has published and handled look old."""

from tests.delivery.stage import Stage

DAY = 86_400.0
SEGMENT = 16_777_216

_COLUMNS = {
    "event": "published_at",
    "success_batch": "finished_at",
    "processing_mark": "marked_at",
    "delivery": "changed_at",
    "event_key": "created_at",
}


async def age(stage: Stage, days: float, *tables: str, where: str = "true") -> None:
    """Everything in these tables (none named: in all) happened so many days earlier."""
    for table in tables or _COLUMNS:
        columns = [_COLUMNS[table], *(["published_at"] if table == "delivery" else [])]
        sets = ", ".join(f"{column} = {column} - make_interval(secs => {days * DAY:g})" for column in columns)
        await stage.rows(f"UPDATE events.{table} SET {sets} WHERE {where}")


async def count(stage: Stage, table: str, where: str = "true") -> int:
    """Rows of a table."""
    rows: int = await stage.value(f"SELECT count(*) FROM events.{table} WHERE {where}")
    return rows
