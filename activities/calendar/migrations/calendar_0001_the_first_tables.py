"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "calendar_0001"
down_revision = None


def upgrade() -> None:
    """Make what is missing: databases from before there were migrations have these tables, and no revision."""
    op.create_table(
        "event",
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=True),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("location", sa.String(length=500), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attendees", sa.JSON(), nullable=False),
        sa.Column("recurrence", sa.String(length=500), nullable=True),
        sa.Column("excluded", sa.JSON(), nullable=False),
        sa.Column("busy", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        sa.UniqueConstraint("uid"),
        if_not_exists=True,
    )
    op.create_index(op.f("ix_event_starts_at"), "event", ["starts_at"], unique=False, if_not_exists=True)
