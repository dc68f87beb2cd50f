"""What was accepted."""

import sqlalchemy as sa
from alembic import op

revision = "mcp_0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "pinned_tool",
        sa.Column("server", sa.String(length=40), nullable=False),
        sa.Column("tool", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("accepted", sa.String(length=64), nullable=False),
        sa.Column("accepted_words", sa.String(length=2000), nullable=False),
        sa.Column("seen", sa.String(length=64), nullable=False),
        sa.Column("seen_words", sa.String(length=2000), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("server", "tool"),
    )
