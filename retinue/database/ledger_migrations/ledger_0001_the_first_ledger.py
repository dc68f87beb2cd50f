"""The first ledger."""

import sqlalchemy as sa
from alembic import op

revision = "ledger_0001"
down_revision = None


def upgrade() -> None:
    """Create the table if missing: databases from before migrations have it, but no revision."""
    op.create_table(
        "ledger",
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("tool", sa.String(length=100), nullable=False),
        sa.Column("args_hash", sa.String(length=64), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        if_not_exists=True,
    )
