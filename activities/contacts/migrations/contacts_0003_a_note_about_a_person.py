"""A note about a person."""

import sqlalchemy as sa
from alembic import op

revision = "contacts_0003"
down_revision = "contacts_0002"


def upgrade() -> None:
    """A note about a person."""
    op.add_column("contact", sa.Column("note", sa.Text(), nullable=True))
