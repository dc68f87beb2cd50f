"""Whose each row is."""

from retinue.database.person_column import add_person

revision = "memory_0002"
down_revision = "memory_0001"


def upgrade() -> None:
    """Begin keys and indexes with the person; what is there belongs to nobody yet."""
    add_person("fact", ["fact_id"], drop=["ix_fact_person"], exists=True)
    add_person("memory_owner", [], exists=True)
