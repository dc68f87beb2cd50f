"""Whose each row is."""

from retinue.database.person_column import add_person

revision = "calendar_0005"
down_revision = "calendar_0004"


def upgrade() -> None:
    """Begin keys and indexes with the person; what is there belongs to nobody yet."""
    add_person(
        "event",
        ["event_id"],
        unique=[["uid"]],
        drop=["ix_event_starts_at", "ix_event_series_uid"],
        indexes=[("ix_event_person_starts_at", ["starts_at"]), ("ix_event_person_series_uid", ["series_uid"])],
    )
    add_person(
        "kept_resource",
        ["effect"],
        drop=["ix_kept_resource_kept_at"],
        indexes=[("ix_kept_resource_person_kept_at", ["kept_at"])],
    )
    add_person("event_arrival", ["number"])
