"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "contacts_0001"
down_revision = None


def upgrade() -> None:
    """Make what is missing: databases from before there were migrations have these tables, and no revision."""
    op.create_table(
        "contact",
        sa.Column("contact_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("phone", sa.String(length=40), nullable=True),
        sa.Column("folded_name", sa.String(length=4000), nullable=False),
        sa.Column("known_by", sa.String(length=254), nullable=False),
        sa.PrimaryKeyConstraint("contact_id"),
        sa.UniqueConstraint("folded_name", "known_by"),
        if_not_exists=True,
    )
