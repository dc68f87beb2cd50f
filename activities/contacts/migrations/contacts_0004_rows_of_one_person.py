"""Whose each row is."""

from retinue.database.person_column import add_person

revision = "contacts_0004"
down_revision = "contacts_0003"


def upgrade() -> None:
    """Begin keys and indexes with the person; what is there belongs to nobody yet."""
    add_person("contact", ["contact_id"], unique=[["folded_name", "known_by"]])
