"""The tables of the API's database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Boolean, Column, Integer, LargeBinary, String, Table, Text

from retinue.database.migrations import migrated
from retinue.store import UtcDateTime

METADATA = migrated(Path(__file__).parent / "migrations", owner="api")
KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("assistant_id", String(80), nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
)
ANSWERS = Table(
    "idempotency_answers",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("claimed_until", UtcDateTime),
    Column("status", Integer),
    Column("headers", Text),
    Column("body", LargeBinary),
)
"""By key: until when the request is in progress, or its answer (encrypted with the key itself)."""
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("credential", LargeBinary, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
"""For `api.auth.sessions`."""
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(300), nullable=False, index=True),
    Column("person", String(100), nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("name", String(100), nullable=False),
    Column("prefix", String(20), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
)
"""For `api.auth.api_keys`: owner by hash of the key."""
CONVERSATIONS = Table(
    "conversations",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("assistant_id", String(300), nullable=False),
    Column("told", Integer, nullable=False),
    Column("begins", Boolean, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
"""For `api.protocols.shared.conversations`: the run by hash of a client's conversation."""
PEOPLE = Table(
    "people",
    METADATA,
    Column("owner", String(300), primary_key=True),
    Column("roles", Text, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)
"""Roles of each person's latest token."""
WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(300), nullable=False, index=True),
    Column("tenant", String(100), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", String(100), nullable=False),
    Column("occasions", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    Column("failures", Integer, nullable=False),
    Column("last_at", UtcDateTime),
    Column("last_occasion", String(40)),
    Column("last_state", String(20)),
    Column("last_attempt", Integer),
    Column("last_problem", Text),
)
"""For `api.webhooks`."""
PENDING_DECISIONS = Table(
    "pending_decisions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("assistant_id", String(300), nullable=False, index=True),
    Column("name", String(40), nullable=False),
    Column("approval_id", String(100), nullable=False),
    Column("owner", String(300), nullable=False),
    Column("decision", String(20), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("mac", String(200), nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("detail", Text),
    Column("claimed_until", UtcDateTime),
    Column("settled_at", UtcDateTime),
)
"""For `api.services.pending_decisions`: by the update's id. `approval_id` is a step's where `name` is `choose`."""
UNDONE = Table(
    "undone",
    METADATA,
    Column("assistant_id", String(300), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
)
"""Runs that were undone after the end: only their views need a second call to Temporal."""
RATE_LIMITS = Table(
    "rate_limits",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("full_at", UtcDateTime, nullable=False, index=True),
)
"""For `api.http.shared_buckets`: by hash of a caller or address, when their bucket is full again."""
SECRETS = Table(
    "secrets", METADATA, Column("name", String(40), primary_key=True), Column("value", LargeBinary(32), nullable=False)
)
"""Created once and shared by all processes of this database."""
