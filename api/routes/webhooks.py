"""Webhooks of the caller: messages when an assistant needs a person and when it ends."""

from __future__ import annotations

import ipaddress
import uuid
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from api.auth.principals import Permission
from api.deps import AppState, Caller, State, StateAtRest, needs
from api.errors import PROBLEMS
from api.webhooks.registrations import Delivered, WebhookRegistration, Webhooks
from retinue.capability import WORKFLOW_QUEUE
from retinue.errors import InvalidArguments, NotAllowed, NotFound
from retinue.temporal.fairness import fair_share
from retinue.times import Moment
from workflows.notification import NOTIFICATION_TYPE, Notification, Occasion

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], responses=PROBLEMS)
WebhookId = Annotated[str, Path(max_length=40)]
_OFF = "webhooks are switched off here"
_HOW_ON = "the operator of this installation can set RETINUE_WEBHOOKS=true"


class MakeWebhook(BaseModel):
    """A webhook to create."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2048, description="receiver of the messages, as in https://example.com/hook")
    name: str = Field("", max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$", description="name in lists")
    events: list[Occasion] = Field(default_factory=list, max_length=20, description="types of messages; empty: all")


class LastDelivery(BaseModel):
    """The last message that was sent or attempted."""

    at: Moment
    event: str
    state: Delivered = Field(
        description="'retrying': it will be retried; 'failed': all attempts failed; 'gone': the receiver no longer exists "
        "(HTTP 410), so nothing more is sent"
    )
    attempt: int
    problem: str | None = None


class ShownWebhook(BaseModel):
    """A webhook without its secret. Of its address only the host is shown: the rest may be a secret too."""

    id: str
    name: str
    host: str
    events: list[Occasion] = Field(description="empty: everything")
    created_at: Moment
    disabled_at: Moment | None = Field(None, description="disabled since then; create a new one")
    failures: int = Field(description="consecutive failed attempts")
    last_delivery: LastDelivery | None = None


class NewWebhook(ShownWebhook):
    """A new webhook."""

    secret: str = Field(description="signs the messages (Standard Webhooks); it is shown only once")


class ShownWebhooks(BaseModel):
    """The caller's webhooks."""

    webhooks: list[ShownWebhook]


class TestSent(BaseModel):
    """A test message is being sent."""

    sent_to: str = Field(description="the webhook; its `last_delivery` has the result")


@router.get("", summary="List webhooks", dependencies=[needs(Permission.KEYS)])
async def list_webhooks(state: StateAtRest, person: Caller) -> ShownWebhooks:
    """List your webhooks, newest first, with their last delivery."""
    return ShownWebhooks(webhooks=[ShownWebhook(**_shown(webhook)) for webhook in await _table(state).of(person.owner)])


@router.post("", status_code=201, summary="Create a webhook", dependencies=[needs(Permission.KEYS)])
async def make_webhook(body: MakeWebhook, state: StateAtRest, person: Caller) -> NewWebhook:
    """Create a webhook. Its secret is in this answer only."""
    if not state.settings.retinue_webhooks:
        raise NotFound(_OFF, hint=_HOW_ON)
    if not person.may(Permission.READ):
        raise NotAllowed("a webhook reports on assistants, which this key may not read")
    made = await _table(state).add(person, body.name, _checked(body.url, state), body.events)
    return NewWebhook(**_shown(made), secret=made.secret)


@router.delete("/{webhook_id}", status_code=204, summary="Delete a webhook", dependencies=[needs(Permission.KEYS)])
async def delete_webhook(webhook_id: WebhookId, state: StateAtRest, person: Caller) -> None:
    """Delete a webhook. Messages that are still queued are dropped."""
    await _table(state).remove(webhook_id, owner=person.owner)


@router.post(
    "/{webhook_id}/test", status_code=202, summary="Send a test message", dependencies=[needs(Permission.KEYS)]
)
async def test_webhook(webhook_id: WebhookId, state: State, person: Caller) -> TestSent:
    """Send one message of type `test`, delivered like all messages."""
    if not state.settings.retinue_webhooks:
        raise NotFound(_OFF, hint=_HOW_ON)
    webhook = await _table(state).get(webhook_id, owner=person.owner)
    await state.client.start_workflow(
        NOTIFICATION_TYPE,
        Notification(occasion=Occasion.TEST, at=datetime.now(UTC), owner=person.owner, only=webhook.id),
        id=f"notify-{uuid.uuid4().hex}",
        task_queue=WORKFLOW_QUEUE,
        priority=fair_share(person.owner),
    )
    return TestSent(sent_to=webhook.id)


def _table(state: AppState) -> Webhooks:
    return Webhooks(state.keys.store)


def _checked(text: str, state: AppState) -> str:
    """Return the address if it is allowed. Names are resolved, and their addresses checked, at each delivery.

    Raises:
        InvalidArguments: It is not a plain https address.
        NotAllowed: Its host or port is not allowed.
    """
    from retinue.network.egress import public, web_address  # see api.settings

    url = web_address(text)
    place = state.settings.webhook_egress().check(url)
    if place in state.settings.webhook_destinations():
        return str(url)
    if url.scheme != "https":
        raise InvalidArguments("a webhook's address must begin with https://, or others could read the messages")
    if _is_number(place.host) and not public(place.host):
        raise NotAllowed("that address lies in a private or reserved network", hint="RETINUE_WEBHOOK_ALLOW opens it")
    return str(url)


def _is_number(host: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shown(webhook: WebhookRegistration) -> dict[str, object]:
    last = webhook.last
    return {
        "id": webhook.id,
        "name": webhook.name,
        "host": urlsplit(webhook.url).netloc,
        "events": sorted(webhook.occasions),
        "created_at": webhook.created_at,
        "disabled_at": webhook.disabled_at,
        "failures": webhook.failures,
        "last_delivery": last
        and LastDelivery(at=last.at, event=last.occasion, state=last.state, attempt=last.attempt, problem=last.problem),
    }
