"""Conversations of chat clients."""

import sqlalchemy as sa
from alembic import op

revision = "api_0005"
down_revision = "api_0004"


def upgrade() -> None:
    """Conversations of chat clients."""
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("assistant_id", sa.String(length=300), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("begins", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
