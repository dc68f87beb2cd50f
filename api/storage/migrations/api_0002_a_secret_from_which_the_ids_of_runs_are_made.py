"""A secret from which the ids of runs are made."""

import sqlalchemy as sa
from alembic import op

revision = "api_0002"
down_revision = "api_0001"


def upgrade() -> None:
    """A secret from which the ids of runs are made."""
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
