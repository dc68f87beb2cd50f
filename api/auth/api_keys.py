"""Personal API keys: 256 random bits each; the table stores the hash.

A key identifies its owner and may limit their permissions. The owner's permissions are looked up at each use: for people
of an identity provider they are those of the latest token.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from api.auth.principals import Permission, Person, Role
from api.storage.tables import API_KEYS, PEOPLE
from retinue.errors import Conflict, NotFound
from retinue.store import Store

PREFIX = "rtn_"
LASTS, LONGEST = timedelta(days=90), timedelta(days=366)
MOST = 50
"""Maximum number of keys per person."""
_SHOWN = len(PREFIX) + 6
_COARSE = timedelta(hours=1)
"""Resolution of the last use."""


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret. `scopes` is None if it has all permissions of its owner."""

    id: str
    name: str
    prefix: str
    scopes: frozenset[Permission] | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class KeyOwner:
    """The owner of a presented key."""

    name: str
    tenant: str
    key: ApiKey


class ApiKeys:
    """The table of API keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(
        self, person: Person, name: str, scopes: frozenset[Permission] | None, expires_at: datetime
    ) -> tuple[ApiKey, str]:
        """Create a key; return it with its secret, which is not stored.

        Raises:
            Conflict: The owner already has `MOST` keys.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        made = ApiKey(f"k-{secrets.token_hex(8)}", name, secret[:_SHOWN], scopes, datetime.now(UTC), expires_at)
        row = {
            "id": made.id,
            "owner": person.owner,
            "person": person.name,
            "tenant": person.tenant,
            "name": name,
            "prefix": made.prefix,
            "digest": _digest(secret),
            "scopes": None if scopes is None else " ".join(sorted(scopes)),
            "created_at": made.created_at,
            "expires_at": expires_at,
        }
        count = select(func.count()).where(API_KEYS.c.owner == person.owner)
        async with self._store.write() as session:
            connection = await session.connection()
            if (await connection.execute(count)).scalar_one() >= MOST:
                raise Conflict(f"you have {MOST} keys", hint="revoke one that you no longer use")
            await connection.execute(insert(API_KEYS).values(row))
        return made, secret

    async def of(self, person: Person) -> list[ApiKey]:
        """Return a person's keys, newest first, including expired ones."""
        query = select(API_KEYS).where(API_KEYS.c.owner == person.owner).order_by(API_KEYS.c.created_at.desc())
        async with self._store.read() as session:
            return [_key(row) for row in (await (await session.connection()).execute(query)).all()]

    async def end(self, person: Person, key_id: str) -> None:
        """End a key at once; it stays in the list as expired.

        Raises:
            NotFound: The person has no such key.
        """
        mine = and_(API_KEYS.c.id == key_id, API_KEYS.c.owner == person.owner)
        ended = (
            update(API_KEYS).where(mine, API_KEYS.c.expires_at > datetime.now(UTC)).values(expires_at=datetime.now(UTC))
        )
        async with self._store.write() as session:
            connection = await session.connection()
            if not (await connection.execute(select(API_KEYS.c.id).where(mine))).all():
                raise NotFound("there is no such key")
            await connection.execute(ended)

    async def remove(self, person: Person, key_id: str) -> None:
        """Remove a key from the list; nothing happens if it is not there."""
        gone = delete(API_KEYS).where(API_KEYS.c.id == key_id, API_KEYS.c.owner == person.owner)
        async with self._store.write() as session:
            await (await session.connection()).execute(gone)

    async def live(self, key_id: str, owner: str) -> ApiKey | None:
        """Return a person's key by its id; None if unknown, revoked or expired."""
        query = select(API_KEYS).where(
            API_KEYS.c.id == key_id, API_KEYS.c.owner == owner, API_KEYS.c.expires_at > datetime.now(UTC)
        )
        async with self._store.read() as session:
            row = (await (await session.connection()).execute(query)).one_or_none()
        return _key(row) if row else None

    async def held(self, secret: str) -> KeyOwner | None:
        """Return the owner of a key; None if unknown, revoked or expired."""
        now = datetime.now(UTC)
        query = select(API_KEYS).where(API_KEYS.c.digest == _digest(secret), API_KEYS.c.expires_at > now)
        async with self._store.read() as session:
            row = (await (await session.connection()).execute(query)).one_or_none()
        if row is None:
            return None
        if row.last_used_at is None or now - row.last_used_at > _COARSE:
            await self._used(row.id, now)
        return KeyOwner(row.person, row.tenant, _key(row))

    async def _used(self, key_id: str, now: datetime) -> None:
        unnoted = or_(API_KEYS.c.last_used_at.is_(None), API_KEYS.c.last_used_at < now - _COARSE)
        noted = update(API_KEYS).where(API_KEYS.c.id == key_id, unnoted).values(last_used_at=now)
        async with self._store.write() as session:
            await (await session.connection()).execute(noted)

    async def roles(self, owner: str) -> frozenset[Role] | None:
        """Return the roles of a person's latest token; None without any."""
        query = select(PEOPLE.c.roles).where(PEOPLE.c.owner == owner)
        async with self._store.read() as session:
            roles: str | None = (await (await session.connection()).execute(query)).scalar_one_or_none()
        return None if roles is None else frozenset(Role(role) for role in roles.split())

    async def note_roles(self, person: Person) -> None:
        """Store the roles of a person's token, if they changed."""
        if await self.roles(person.owner) == person.roles:
            return
        row = {"roles": _words(person.roles), "seen_at": datetime.now(UTC)}
        changed = update(PEOPLE).where(PEOPLE.c.owner == person.owner).values(row)
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                if not (await connection.execute(changed)).rowcount:
                    await connection.execute(insert(PEOPLE).values(owner=person.owner, **row))
        except IntegrityError:  # a concurrent request was first
            async with self._store.write() as session:
                await (await session.connection()).execute(changed)


def _key(row: Row[Any]) -> ApiKey:
    scopes = None if row.scopes is None else frozenset(Permission(scope) for scope in row.scopes.split())
    return ApiKey(row.id, row.name, row.prefix, scopes, row.created_at, row.expires_at, row.last_used_at)


def _words(values: Iterable[str]) -> str:
    return " ".join(sorted(values))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
