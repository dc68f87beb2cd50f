"""Pauses that endpoints asked for."""

import sqlalchemy as sa
from alembic import op

revision = "reasoning_0002"
down_revision = "reasoning_0001"


def upgrade() -> None:
    """Pauses that endpoints asked for."""
    op.create_table(
        "pauses",
        sa.Column("model", sa.String(length=500), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model"),
    )
