"""Rate limits that all API processes of one PostgreSQL database share."""

import sqlalchemy as sa
from alembic import op

revision = "api_0008"
down_revision = "api_0007"


def upgrade() -> None:
    """Rate limits that all API processes of one PostgreSQL database share."""
    op.create_table(
        "rate_limits",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("full_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_rate_limits_full_at"), "rate_limits", ["full_at"], unique=False)
