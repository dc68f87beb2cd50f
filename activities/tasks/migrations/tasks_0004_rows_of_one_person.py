"""Whose each row is."""

from retinue.database.person_column import add_person

revision = "tasks_0004"
down_revision = "tasks_0003"


def upgrade() -> None:
    """Begin keys and indexes with the person; what is there belongs to nobody yet."""
    add_person(
        "task",
        ["task_id"],
        drop=["ix_task_list_key", "ix_task_follows"],
        indexes=[("ix_task_person_list_key", ["list_key"]), ("ix_task_person_follows", ["follows"])],
    )
    add_person(
        "kept_tasks",
        ["kept"],
        drop=["ix_kept_tasks_kept_at"],
        indexes=[("ix_kept_tasks_person_kept_at", ["kept_at"])],
    )
