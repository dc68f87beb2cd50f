"""Whose each row is."""

from retinue.database.person_column import add_person

revision = "email_0005"
down_revision = "email_0004"


def upgrade() -> None:
    """Begin keys and indexes with the person; what is there belongs to nobody yet."""
    add_person(
        "messages",
        ["message_id"],
        drop=["messages_folder_date"],
        indexes=[("messages_person_folder_date", ["folder", "date"])],
    )
    for table, key in (
        ("sources", "message_id"),
        ("files", "file_id"),
        ("outbox", "key"),
        ("relocations", "key"),
        ("arrivals", "number"),
    ):
        add_person(table, [key])
