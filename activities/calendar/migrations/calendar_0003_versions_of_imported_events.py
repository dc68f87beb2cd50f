"""versions of imported events."""

import sqlalchemy as sa
from alembic import op

revision = "calendar_0003"
down_revision = "calendar_0002"


def upgrade() -> None:
    """Versions of imported events."""
    op.add_column("event", sa.Column("days", sa.Integer(), server_default="0", nullable=False))
    op.add_column("event", sa.Column("sequence", sa.Integer(), server_default="0", nullable=False))
    op.add_column("event", sa.Column("modified_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("event", sa.Column("series_uid", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_event_series_uid"), "event", ["series_uid"], unique=False)
