"""Effects at outer services go through states; one that was recorded before is done."""

import sqlalchemy as sa
from alembic import op

revision = "ledger_0002"
down_revision = "ledger_0001"


def upgrade() -> None:
    """Add the columns for an effect's state."""
    state = sa.Column("state", sa.String(length=10), server_default="done", nullable=False)
    attempt = sa.Column("attempt", sa.String(length=32), server_default="", nullable=False)
    # for a few days the columns were created without a revision
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("ledger")}
    for column in (state, attempt):
        if column.name not in present:
            op.add_column("ledger", column)
