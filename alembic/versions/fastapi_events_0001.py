"""The event log, cursors, deliveries, workers.

Revision ID: fastapi_events_0001
"""

from fastapi_events.store.schema.alembic_steps import downgrade_step, upgrade_step

revision = "fastapi_events_0001"
down_revision = None
branch_labels = ("fastapi_events",)
depends_on = None


def upgrade() -> None:
    """Install schema version 1."""
    upgrade_step(1)


def downgrade() -> None:
    """Remove everything, unless there are events and nobody asked for that: see ``downgrade_step``."""
    downgrade_step(1)
