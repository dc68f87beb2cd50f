"""What a resource was before an effect."""

import sqlalchemy as sa
from alembic import op

revision = "calendar_0002"
down_revision = "calendar_0001"


def upgrade() -> None:
    """What a resource was before an effect."""
    op.create_table(
        "kept_resource",
        sa.Column("effect", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=500), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("effect"),
    )
    op.create_index(op.f("ix_kept_resource_kept_at"), "kept_resource", ["kept_at"], unique=False)
