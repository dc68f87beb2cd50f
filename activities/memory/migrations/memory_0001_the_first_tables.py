"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "memory_0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "fact",
        sa.Column("fact_id", sa.String(length=32), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("assistant_id", sa.Text(), nullable=True),
        sa.Column("step_id", sa.Text(), nullable=True),
        sa.Column("message", sa.Integer(), nullable=True),
        sa.Column("how", sa.String(length=20), nullable=False),
        sa.Column("through", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fact_id"),
    )
    op.create_index(op.f("ix_fact_person"), "fact", ["person"], unique=False)
    op.create_table(
        "memory_owner",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person"),
    )
