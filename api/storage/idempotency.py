"""Idempotency keys: which caller used which key for which request, and the first answer.

A key is claimed before any effect, and its answer stored afterwards, so that a repeated request gets the same answer and
has no effect. Ids of runs and schedules are derived from the key: a claim after a crash finds what the first request had
started, and a claim that expires too early creates nothing twice. Temporal forgets a workflow id after its retention;
these tables store keys for `KEPT`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Row,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from api.storage.encryption import decrypt, encrypt
from api.storage.tables import (
    ANSWERS,
    CONVERSATIONS,
    KEYS,
    METADATA,
    PENDING_DECISIONS,
    RATE_LIMITS,
    SECRETS,
    SESSIONS,
    UNDONE,
)
from retinue.errors import InProgress, InvalidArguments, ServiceUnavailable
from retinue.store import Store

_OF_IDS = "ids"


KEPT = timedelta(days=30)
"""After this time a key counts as unused."""
CLAIM = timedelta(seconds=15)
"""A claim of a dead process can be taken over after this time, plus the wait time of the request."""
_PATIENCE = 5.0
"""Seconds that a repeated request waits for the answer of the first."""
_PROBE_PAUSE = 2.0
_LARGEST_ANSWER = 512 * 1024
_PRUNED_AT_ONCE = 500
_BETWEEN_PRUNINGS = 1800.0
_CLOCKS_DIFFER = timedelta(minutes=10)
"""By how much the clocks of the API and of the database server may differ."""
_log = logging.getLogger("retinue.api")


@dataclass(frozen=True)
class Answer:
    """The stored answer of a request."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Claim:
    """The claim of a caller's key. `named` is the protocol's name of the key."""

    assistant_id: str
    used_at: datetime
    repeated: bool
    named: str = "Idempotency-Key"
    id: str = ""
    until: datetime | None = None
    secret: str = field(default="", repr=False)
    answer: Answer | None = None


class IdempotencyKeys:
    """The tables of idempotency keys."""

    def __init__(self, url: str) -> None:
        self._store = Store(url, METADATA, owner="api", with_ledger=False)
        self._of_ids = b""
        self._problem, self._probe_at = "", 0.0

    async def open(self) -> None:
        """Open the database."""
        await self._store.open()
        self._of_ids = await self._secret(_OF_IDS)

    async def close(self) -> None:
        """Close it."""
        await self._store.close()

    @property
    def store(self) -> Store:
        """Return the API's database."""
        return self._store

    async def problem(self) -> str:
        """Return why the API's database cannot be written; empty if it can. Checked every two seconds at most."""
        now = asyncio.get_running_loop().time()
        if now >= self._probe_at:
            self._probe_at = now + _PROBE_PAUSE
            try:
                await self._store.probe()
            except ServiceUnavailable as error:
                self._problem = error.message
            else:
                self._problem = ""
        return self._problem

    async def claim(
        self, *, owner: str, key: str, body: str, lasting: timedelta = CLAIM, named: str = "Idempotency-Key"
    ) -> Claim:
        """Claim a caller's key for a request, before any effect.

        Args:
            owner: The caller.
            key: The caller's key.
            body: The fingerprint of the request.
            lasting: Time after which others may take over an unanswered claim.
            named: The protocol's name of the key, for errors.

        Returns:
            The id of the key, and the first answer if there is one: then the request must do nothing.

        Raises:
            InvalidArguments: The key was used for another request.
            InProgress: The first request with this key is still in progress.
        """
        key_id, now = _digest(owner, key), datetime.now(UTC)
        assistant_id, until = f"a-{self._hidden(key_id)}", now + lasting
        claim = Claim(assistant_id, now, repeated=False, named=named, id=key_id, until=until, secret=key)
        row = {"id": key_id, "body_hash": _digest(body), "assistant_id": claim.assistant_id, "used_at": now}
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                await connection.execute(insert(KEYS).values(row))
                await connection.execute(insert(ANSWERS).values(id=key_id, claimed_until=claim.until))
        except IntegrityError:
            return await self._claimed_before(claim, str(row["body_hash"]), lasting)
        return claim

    async def _claimed_before(self, claim: Claim, body_hash: str, lasting: timedelta) -> Claim:
        """Return the claim of a repeated request, once the first is answered, released or dead."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        pause = 0.02
        while True:
            row = await self._row(claim.id)
            if row.body_hash != body_hash:
                raise InvalidArguments(
                    f"this {claim.named} was used for another request",
                    hint=f"use a new {claim.named} for a new request",
                )
            again = replace(claim, assistant_id=row.assistant_id, used_at=row.used_at, repeated=True)
            if row.status is not None:
                return replace(again, answer=_opened(row, claim))
            until = datetime.now(UTC) + lasting
            if await self._taken_over(claim.id, until):
                return replace(again, until=until)
            if asyncio.get_running_loop().time() > deadline:
                raise InProgress(f"the first request with this {claim.named} is still in progress", retry_after=2)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)

    async def _row(self, key_id: str) -> Row[Any]:
        query = select(KEYS, ANSWERS.c.status, ANSWERS.c.headers, ANSWERS.c.body)
        joined = query.outerjoin_from(KEYS, ANSWERS, KEYS.c.id == ANSWERS.c.id).where(KEYS.c.id == key_id)
        async with self._store.read() as session:
            return (await (await session.connection()).execute(joined)).one()

    async def _taken_over(self, key_id: str, until: datetime) -> bool:
        """Take over an abandoned claim; return whether that succeeded. A key of an earlier version has no row here yet."""
        free = or_(ANSWERS.c.claimed_until.is_(null()), ANSWERS.c.claimed_until < datetime.now(UTC))
        ours = update(ANSWERS).where(ANSWERS.c.id == key_id, ANSWERS.c.status.is_(null()), free)
        try:
            async with self._store.write() as session:
                connection = await session.connection()
                if (await connection.execute(ours.values(claimed_until=until))).rowcount:
                    return True
                known = select(func.count()).where(ANSWERS.c.id == key_id)
                if (await connection.execute(known)).scalar_one():
                    return False
                await connection.execute(insert(ANSWERS).values(id=key_id, claimed_until=until))
        except IntegrityError:
            return False
        return True

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Store the answer for repeated requests. An answer that is too large is not stored; the id is."""
        if len(answer.body) > _LARGEST_ANSWER:
            await self.give_back(claim)
            return
        headers = json.dumps(answer.headers)
        body = encrypt(claim.secret, answer.body, about=claim.id)
        values = {"status": answer.status, "headers": headers, "body": body, "claimed_until": None}
        changed = update(ANSWERS).where(ANSWERS.c.id == claim.id, ANSWERS.c.status.is_(null())).values(values)
        async with self._store.write() as session:
            await (await session.connection()).execute(changed)

    async def give_back(self, claim: Claim) -> None:
        """Release the key after a refusal or an outage, so that the request can be retried."""
        mine = update(ANSWERS).where(ANSWERS.c.id == claim.id, ANSWERS.c.claimed_until == claim.until)
        async with self._store.write() as session:
            await (await session.connection()).execute(mine.values(claimed_until=None))

    async def prune(self, *, kept: timedelta = KEPT) -> int:
        """Delete expired keys, sessions, conversations, settled decisions and full rate limits in batches; return how many."""
        now = datetime.now(UTC)
        old = select(KEYS.c.id).where(KEYS.c.used_at < now - kept).limit(_PRUNED_AT_ONCE)
        settled = (
            select(PENDING_DECISIONS.c.id).where(PENDING_DECISIONS.c.settled_at < now - kept).limit(_PRUNED_AT_ONCE)
        )
        talks = select(CONVERSATIONS.c.id).where(CONVERSATIONS.c.at < now - kept).limit(_PRUNED_AT_ONCE)
        full = select(RATE_LIMITS.c.id).where(RATE_LIMITS.c.full_at < now - _CLOCKS_DIFFER).limit(_PRUNED_AT_ONCE)
        over = select(SESSIONS.c.id).where(SESSIONS.c.expires_at < now).limit(_PRUNED_AT_ONCE)
        async with self._store.write() as session:
            connection = await session.connection()
            ids = list((await connection.execute(old)).scalars())
            await connection.execute(delete(ANSWERS).where(ANSWERS.c.id.in_(ids)))
            await connection.execute(delete(KEYS).where(KEYS.c.id.in_(ids)))
            ended = list((await connection.execute(over)).scalars())
            await connection.execute(delete(SESSIONS).where(SESSIONS.c.id.in_(ended)))
            silent = list((await connection.execute(talks)).scalars())
            await connection.execute(delete(CONVERSATIONS).where(CONVERSATIONS.c.id.in_(silent)))
            settled_ids = list((await connection.execute(settled)).scalars())
            await connection.execute(delete(PENDING_DECISIONS).where(PENDING_DECISIONS.c.id.in_(settled_ids)))
            full_ids = list((await connection.execute(full)).scalars())
            await connection.execute(delete(RATE_LIMITS).where(RATE_LIMITS.c.id.in_(full_ids)))
        return len(ids) + len(ended) + len(silent) + len(settled_ids) + len(full_ids)

    def _hidden(self, key_id: str) -> str:
        """Return 128 bits derived from a person and their key; not computable without the stored secret."""
        return hmac.new(self._of_ids, key_id.encode(), hashlib.sha256).hexdigest()[:32]

    async def _secret(self, name: str) -> bytes:
        """Return the secret of that name; of concurrent creators the first one wins."""
        row = {"name": name, "value": secrets.token_bytes(32)}
        query = select(SECRETS.c.value).where(SECRETS.c.name == name)
        async with self._store.read() as session:
            known: bytes | None = (await (await session.connection()).execute(query)).scalar_one_or_none()
        if known is not None:
            return bytes(known)
        with contextlib.suppress(IntegrityError):
            async with self._store.write() as session:
                await (await session.connection()).execute(insert(SECRETS).values(row))
        async with self._store.read() as session:
            return bytes((await (await session.connection()).execute(query)).scalar_one())

    async def note_undo(self, assistant_id: str, number: int) -> None:
        """Count an undo of a run."""
        row = {"assistant_id": assistant_id, "number": number, "asked_at": datetime.now(UTC)}
        with contextlib.suppress(IntegrityError):
            async with self._store.write() as session:
                await (await session.connection()).execute(insert(UNDONE).values(row))

    async def undoings(self, assistant_id: str) -> int:
        """Return how often a run was undone."""
        query = select(func.count()).where(UNDONE.c.assistant_id == assistant_id)
        async with self._store.read() as session:
            return int((await (await session.connection()).execute(query)).scalar_one())


async def prune_for_ever(keys: IdempotencyKeys) -> None:
    """Delete expired rows periodically, as long as the process lives."""
    while True:
        try:
            full = await keys.prune() >= _PRUNED_AT_ONCE
        except ServiceUnavailable as error:
            full = False
            _log.warning("expired idempotency keys are not deleted now: %s", error.message)
        await asyncio.sleep(_BETWEEN_PRUNINGS / 100 if full else _BETWEEN_PRUNINGS)


def _opened(row: Row[Any], claim: Claim) -> Answer | None:
    """Return the first answer; None if it was changed in the database: then the current state is returned instead."""
    body = decrypt(claim.secret, row.body, about=claim.id)
    return None if body is None else Answer(status=row.status, headers=json.loads(row.headers), body=body)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
