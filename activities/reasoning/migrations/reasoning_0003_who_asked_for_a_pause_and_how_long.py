"""who asked for a pause and how long."""

import sqlalchemy as sa
from alembic import op

revision = "reasoning_0003"
down_revision = "reasoning_0002"


def upgrade() -> None:
    """Who asked for a pause and how long."""
    op.add_column("pauses", sa.Column("since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("pauses", sa.Column("asked_seconds", sa.Float(), nullable=True))
