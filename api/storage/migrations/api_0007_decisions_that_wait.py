"""Decisions that wait for a workflow worker."""

import sqlalchemy as sa
from alembic import op

revision = "api_0007"
down_revision = "api_0006"


def upgrade() -> None:
    """Decisions that wait for a workflow worker."""
    op.create_table(
        "pending_decisions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("assistant_id", sa.String(length=300), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("approval_id", sa.String(length=100), nullable=False),
        sa.Column("owner", sa.String(length=300), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("mac", sa.String(length=200), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_pending_decisions_assistant_id"), "pending_decisions", ["assistant_id"], unique=False)
    op.create_index(op.f("ix_pending_decisions_state"), "pending_decisions", ["state"], unique=False)
