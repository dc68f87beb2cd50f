"""What was accepted, and whose tasks are whose."""

import sqlalchemy as sa
from alembic import op

revision = "a2a_0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "pinned_card",
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.Column("accepted", sa.String(length=64), nullable=False),
        sa.Column("accepted_words", sa.String(length=4000), nullable=False),
        sa.Column("seen", sa.String(length=64), nullable=False),
        sa.Column("seen_words", sa.String(length=4000), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("agent"),
    )
    op.create_table(
        "known_task",
        sa.Column("agent", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.String(length=200), nullable=False),
        sa.Column("workflow_id", sa.String(length=400), nullable=False),
        sa.Column("context_id", sa.String(length=200), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("agent", "task_id", "workflow_id"),
    )
