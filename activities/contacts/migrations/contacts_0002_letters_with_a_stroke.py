"""Names with letters of their own, such as Søren, are found by those that people type."""

import sqlalchemy as sa
from alembic import op

from activities.contacts.names import folded

revision = "contacts_0002"
down_revision = "contacts_0001"

_CONTACT = sa.table(
    "contact", sa.column("contact_id"), sa.column("name"), sa.column("folded_name"), sa.column("known_by")
)


def upgrade() -> None:
    """Fold the names again. Where that would make two rows the same person, the row stays as it is."""
    rows = op.get_bind().execute(sa.select(_CONTACT)).all()
    taken = {(row.folded_name, row.known_by) for row in rows}
    for row in rows:
        key = (folded(row.name), row.known_by)
        if key not in taken:
            taken.add(key)
            change = sa.update(_CONTACT).where(_CONTACT.c.contact_id == row.contact_id)
            op.get_bind().execute(change.values(folded_name=key[0]))
