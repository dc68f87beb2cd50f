"""The outbox and relocations."""

import sqlalchemy as sa
from alembic import op

revision = "email_0002"
down_revision = "email_0001"


def upgrade() -> None:
    """The outbox and relocations."""
    op.create_table(
        "outbox",
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("message_id", sa.String(length=500), nullable=False),
        sa.Column(
            "state",
            sa.Enum("prepared", "sent", "filing", "filed", name="outboxstate", native_enum=False, length=20),
            nullable=False,
        ),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "relocations",
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("message_id", sa.String(length=500), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column(
            "folder",
            sa.Enum("inbox", "sent", "drafts", "archive", name="folder", native_enum=False, length=20),
            nullable=False,
        ),
        sa.Column("mailbox", sa.String(length=1000), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
