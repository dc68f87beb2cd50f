"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "email_0001"
down_revision = None


def upgrade() -> None:
    """Make what is missing: databases from before there were migrations have these tables, and no revision."""
    op.create_table(
        "messages",
        sa.Column("message_id", sa.String(length=500), nullable=False),
        sa.Column(
            "folder",
            sa.Enum("inbox", "sent", "drafts", "archive", name="folder", native_enum=False, length=20),
            nullable=False,
        ),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("sender_name", sa.String(), nullable=False),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("cc", sa.JSON(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("unread", sa.Boolean(), nullable=False),
        sa.Column("attachments", sa.JSON(), nullable=False),
        sa.Column("in_reply_to", sa.String(length=500), nullable=True),
        sa.Column("haystack", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
        if_not_exists=True,
    )
    op.create_index("messages_folder_date", "messages", ["folder", "date"], unique=False, if_not_exists=True)
