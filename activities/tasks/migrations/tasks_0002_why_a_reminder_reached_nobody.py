"""Why a reminder reached nobody."""

import sqlalchemy as sa
from alembic import op

revision = "tasks_0002"
down_revision = "tasks_0001"


def upgrade() -> None:
    """Why a reminder reached nobody."""
    op.add_column("task", sa.Column("reminder_problem", sa.String(length=600), nullable=True))
