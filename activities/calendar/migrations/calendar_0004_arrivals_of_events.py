"""arrivals of events."""

import sqlalchemy as sa
from alembic import op

revision = "calendar_0004"
down_revision = "calendar_0003"


def upgrade() -> None:
    """Arrivals of events."""
    op.create_table(
        "event_arrival",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
