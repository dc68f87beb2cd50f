"""The table of effects, part of every capability's database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, DateTime, String, Table, Text

from retinue.database.migrations import migrated

LEDGER = Table(
    "ledger",
    migrated(Path(__file__).parent / "ledger_migrations", owner="ledger", version_table="alembic_version_ledger"),
    Column("key", String(500), primary_key=True),
    Column("tool", String(100), nullable=False),
    Column("args_hash", String(64), nullable=False),
    Column("result", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("state", String(10), nullable=False, server_default="done"),
    Column("attempt", String(32), nullable=False, server_default=""),
)
