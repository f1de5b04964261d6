"""What the reports module remembers."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlmodel import DateTime, Field

from example_app.tables import ShopTable


class Sale(ShopTable, table=True):
    """Money that came in, and the report that tells of it; as elsewhere, ``order_id`` is not unique on purpose."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    order_id: UUID = Field(index=True)
    cents: int
    report_id: UUID | None = Field(default=None, index=True)


class Report(ShopTable, table=True):
    """What one night's report says; ``run_id`` is the run that made it."""

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    run_id: UUID = Field(index=True)
    until: datetime = Field(sa_type=DateTime(timezone=True))
    sales: int
    cents: int
