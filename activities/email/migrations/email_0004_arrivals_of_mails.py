"""arrivals of mails."""

import sqlalchemy as sa
from alembic import op

revision = "email_0004"
down_revision = "email_0003"


def upgrade() -> None:
    """Arrivals of mails."""
    op.create_table(
        "arrivals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
