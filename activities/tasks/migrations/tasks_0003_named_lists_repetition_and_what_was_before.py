"""Named lists, repetition and what was before."""

import sqlalchemy as sa
from alembic import op

revision = "tasks_0003"
down_revision = "tasks_0002"


def upgrade() -> None:
    """Named lists, repetition and what was before."""
    op.create_table(
        "kept_tasks",
        sa.Column("kept", sa.String(length=64), nullable=False),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kept"),
    )
    op.create_index(op.f("ix_kept_tasks_kept_at"), "kept_tasks", ["kept_at"], unique=False)
    op.add_column("task", sa.Column("list_name", sa.String(length=80), nullable=True))
    op.add_column("task", sa.Column("list_key", sa.String(length=320), nullable=True))
    op.add_column("task", sa.Column("repeats", sa.String(length=500), nullable=True))
    op.add_column("task", sa.Column("repeats_from", sa.DateTime(timezone=True), nullable=True))
    op.add_column("task", sa.Column("timezone", sa.String(length=64), nullable=True))
    op.add_column("task", sa.Column("timer", sa.Integer(), server_default="0", nullable=False))
    op.add_column("task", sa.Column("follows", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_task_follows"), "task", ["follows"], unique=False)
    op.create_index(op.f("ix_task_list_key"), "task", ["list_key"], unique=False)
