"""The table of webhooks: owner, message types, last delivery.

Secrets are stored in plain text, since each message is signed with one: anyone who reads this database can sign.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, update

from api.auth.principals import Permission, Person, Role
from api.storage.tables import PEOPLE, WEBHOOKS
from retinue.errors import Conflict, NotFound
from retinue.network.webhooks import new_secret
from retinue.store import Store
from retinue.tenancy import anybody, deciders, organisation
from workflows.notification import Notification, Occasion

MOST = 20
"""Maximum number of webhooks per person."""
_MOST_RECIPIENTS = 200
"""Maximum number of webhooks for one message."""


class Delivered(StrEnum):
    """The state of a delivery."""

    DELIVERED = "delivered"
    RETRYING = "retrying"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True)
class Delivery:
    """The last message that was sent or attempted."""

    at: datetime
    occasion: str
    state: Delivered
    attempt: int
    problem: str | None = None


@dataclass(frozen=True)
class WebhookRegistration:
    """A webhook. Empty `occasions` means all; `failures` counts consecutive failed attempts."""

    id: str
    owner: str
    name: str
    url: str
    secret: str = field(repr=False)
    occasions: frozenset[Occasion]
    created_at: datetime
    disabled_at: datetime | None = None
    failures: int = 0
    last: Delivery | None = None

    def wants(self, occasion: Occasion) -> bool:
        """Return whether it gets this message. A test is always sent."""
        return occasion is Occasion.TEST or not self.occasions or occasion in self.occasions


class Webhooks:
    """The webhooks of this installation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, person: Person, name: str, url: str, occasions: Collection[Occasion]) -> WebhookRegistration:
        """Create a webhook with its own secret.

        Raises:
            Conflict: The person already has `MOST` webhooks.
        """
        made = WebhookRegistration(
            id=f"w-{secrets.token_hex(8)}",
            owner=person.owner,
            name=name,
            url=url,
            secret=new_secret(),
            occasions=frozenset(occasions),
            created_at=datetime.now(UTC),
        )
        count = select(func.count()).where(WEBHOOKS.c.owner == person.owner)
        async with self._store.write() as session:
            connection = await session.connection()
            if (await connection.execute(count)).scalar_one() >= MOST:
                raise Conflict(f"you have {MOST} webhooks", hint="delete one that you no longer use")
            await connection.execute(insert(WEBHOOKS).values(_row(made, tenant=person.tenant)))
        return made

    async def of(self, owner: str) -> list[WebhookRegistration]:
        """Return a person's webhooks, newest first."""
        query = select(WEBHOOKS).where(WEBHOOKS.c.owner == owner).order_by(WEBHOOKS.c.created_at.desc())
        return await self._found(query)

    async def get(self, webhook_id: str, *, owner: str) -> WebhookRegistration:
        """Return one of a person's webhooks.

        Raises:
            NotFound: The person has no such webhook.
        """
        found = await self.find(webhook_id)
        if found is None or found.owner != owner:
            raise NotFound("there is no such webhook")
        return found

    async def find(self, webhook_id: str) -> WebhookRegistration | None:
        """Return the webhook with this id, whatever its owner; None if deleted."""
        found = await self._found(select(WEBHOOKS).where(WEBHOOKS.c.id == webhook_id))
        return found[0] if found else None

    async def remove(self, webhook_id: str, *, owner: str) -> None:
        """Delete a webhook. Its queued messages are dropped.

        Raises:
            NotFound: The person has no such webhook.
        """
        gone = delete(WEBHOOKS).where(WEBHOOKS.c.id == webhook_id, WEBHOOKS.c.owner == owner)
        async with self._store.write() as session:
            if not (await (await session.connection()).execute(gone)).rowcount:
                raise NotFound("there is no such webhook")

    async def addressees(self, notification: Notification) -> list[str]:
        """Return the ids of the webhooks for a message: of the run's owner and of its possible approvers.

        Webhooks of other organisations are excluded, whatever a policy says.
        """
        if notification.only:
            found = [
                webhook
                for webhook in [await self.find(notification.only)]
                if webhook and webhook.owner == notification.owner
            ]
        else:
            names = {notification.owner, *deciders(notification.by, owner=notification.owner)}
            found = await self._of_all(
                names, anybody_of=notification.owner if anybody(notification.owner) in names else None
            )
        return [webhook.id for webhook in found if webhook.wants(notification.occasion) and not webhook.disabled_at]

    async def _of_all(self, names: Collection[str], *, anybody_of: str | None) -> list[WebhookRegistration]:
        whose: list[ColumnElement[bool]] = [WEBHOOKS.c.owner.in_(names)]
        if anybody_of is not None:
            # people without the permission are skipped; for those named by a proxy no roles are known
            known = select(PEOPLE.c.owner, PEOPLE.c.roles)
            silent = [row.owner for row in await self._rows(known) if not _decides(row.owner, row.roles)]
            whose.append((WEBHOOKS.c.tenant == organisation(anybody_of)) & WEBHOOKS.c.owner.not_in(silent))
        return await self._found(select(WEBHOOKS).where(or_(*whose)).order_by(WEBHOOKS.c.id).limit(_MOST_RECIPIENTS))

    async def note(self, webhook_id: str, delivery: Delivery) -> None:
        """Store the result of a delivery for its owner."""
        taken = delivery.state is Delivered.DELIVERED
        changes: dict[str, Any] = {
            "last_at": delivery.at,
            "last_occasion": delivery.occasion,
            "last_state": delivery.state,
            "last_attempt": delivery.attempt,
            "last_problem": delivery.problem,
            "failures": 0 if taken else WEBHOOKS.c.failures + 1,
        }
        if delivery.state is Delivered.GONE:
            changes["disabled_at"] = delivery.at
        async with self._store.write() as session:
            await (await session.connection()).execute(
                update(WEBHOOKS).where(WEBHOOKS.c.id == webhook_id).values(changes)
            )

    async def _found(self, query: Any) -> list[WebhookRegistration]:
        return [_webhook(row) for row in await self._rows(query)]

    async def _rows(self, query: Any) -> list[Row[Any]]:
        async with self._store.read() as session:
            return list((await (await session.connection()).execute(query)).all())


def _decides(owner: str, roles: str) -> bool:
    return Person(owner.rpartition(":")[2], frozenset(Role(role) for role in roles.split())).may(Permission.DECIDE)


def _row(webhook: WebhookRegistration, *, tenant: str) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "owner": webhook.owner,
        "tenant": tenant,
        "name": webhook.name,
        "url": webhook.url,
        "secret": webhook.secret,
        "occasions": " ".join(sorted(webhook.occasions)),
        "created_at": webhook.created_at,
        "failures": 0,
    }


def _webhook(row: Row[Any]) -> WebhookRegistration:
    webhook = WebhookRegistration(
        id=row.id,
        owner=row.owner,
        name=row.name,
        url=row.url,
        secret=row.secret,
        occasions=frozenset(Occasion(occasion) for occasion in row.occasions.split()),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        failures=row.failures,
    )
    if row.last_at is None:
        return webhook
    last = Delivery(row.last_at, row.last_occasion, Delivered(row.last_state), row.last_attempt, row.last_problem)
    return replace(webhook, last=last)
