"""How models answer in JSON."""

import sqlalchemy as sa
from alembic import op

revision = "reasoning_0004"
down_revision = "reasoning_0003"


def upgrade() -> None:
    """How models answer in JSON."""
    op.create_table(
        "answer_forms",
        sa.Column("model", sa.String(length=500), nullable=False),
        sa.Column("form", sa.String(length=40), nullable=False),
        sa.Column("words", sa.String(length=500), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model"),
    )
