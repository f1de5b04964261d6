"""Invoices as files."""

from pathlib import Path
from uuid import UUID


def write_invoice_file(folder: Path, order_id: UUID, cents: int) -> Path:
    """Write the invoice of an order whole or not at all, and return its path; writing it again changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{order_id}.txt"
    draft = path.with_suffix(".draft")
    draft.write_text(f"Invoice for order {order_id}\nPaid: {cents // 100}.{cents % 100:02} EUR\n")
    return draft.replace(path)
