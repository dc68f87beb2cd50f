"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "reasoning_0001"
down_revision = None


def upgrade() -> None:
    """Make what is missing: databases from before there were migrations have these tables, and no revision."""
    op.create_table(
        "transcripts",
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", "position"),
        if_not_exists=True,
    )
