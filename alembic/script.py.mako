"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from fastapi_events.store.schema.alembic_steps import downgrade_step, upgrade_step

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    upgrade_step(int(revision[-4:]))


def downgrade() -> None:
    downgrade_step(int(revision[-4:]))
