"""Delivery: the activities of the queue `webhooks`, and their worker inside the API."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
from pydantic import JsonValue
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.webhooks.registrations import Delivered, Delivery, WebhookRegistration, Webhooks
from retinue.errors import RetinueError, ServiceBusy
from retinue.network.egress import Egress, guarded_client
from retinue.network.service_client import ExternalService
from retinue.network.webhooks import MOST_BYTES, Webhook, key_of
from retinue.temporal.connection import BUILD_ID, connect
from workflows.notification import ADDRESSEES, DELIVER, WEBHOOK_QUEUE, Deliver, Notification

_SILENCE = 10.0
_DEADLINE = 15.0
"""Time limit of one attempt in seconds."""
_AT_ONCE = 50
_PAUSE = 2.0
_DRAIN = timedelta(seconds=2)
_log = logging.getLogger("retinue.network.webhooks")


class _NotTaken(Exception):
    """Why an attempt failed, and the receiver's Retry-After."""

    def __init__(self, problem: str, *, retry_after: float = 0, gone: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = retry_after
        self.gone = gone


@dataclass(frozen=True)
class ConsoleLinks:
    """Links of messages for people. `base` is an address without a trailing slash."""

    base: str

    def link(self, notification: Notification) -> str | None:
        """Return the page of a message's subject. Opening it changes nothing."""
        if notification.assistant_id is None:
            return None
        if notification.approval_id is None:
            return f"{self.base}/assistants/{quote(notification.assistant_id, safe='')}"
        return f"{self.base}/approvals/{quote(notification.assistant_id, safe='')}/{quote(notification.approval_id, safe='')}"


class Deliveries:
    """The two activities.

    Args:
        webhooks: The table.
        client: For receivers; see `retinue.network.egress.guarded_client`.
        links: Builds the links.
        pauses: Seconds between the attempts of one message; after the last one it fails.
    """

    def __init__(
        self, webhooks: Webhooks, client: httpx.AsyncClient, *, links: ConsoleLinks, pauses: Sequence[float]
    ) -> None:
        self._webhooks = webhooks
        self._outside = ExternalService(client, name="the webhook", deadline=_DEADLINE, most_bytes=MOST_BYTES)
        self._links = links
        self._pauses = pauses

    @activity.defn(name=ADDRESSEES)
    async def addressees(self, notification: Notification) -> list[str]:
        """Return the webhooks for a message."""
        return await self._webhooks.addressees(notification)

    @activity.defn(name=DELIVER)
    async def deliver(self, wish: Deliver) -> None:
        """Send one message to one webhook, unless it was deleted or disabled meanwhile.

        Raises:
            ApplicationError: It was not accepted; with the pause before the next attempt, or non-retryable.
        """
        webhook = await self._webhooks.find(wish.webhook_id)
        if webhook is None or webhook.disabled_at:
            return
        notification, attempt = wish.notification, activity.info().attempt
        try:
            await self._send(webhook, notification)
        except _NotTaken as error:
            state = self._state(error, attempt)
            await self._note(webhook, notification, state, attempt, error.problem)
            raise self._failure(error, state, attempt) from None
        await self._note(webhook, notification, Delivered.DELIVERED, attempt)

    async def _send(self, webhook: WebhookRegistration, notification: Notification) -> None:
        receiver = Webhook(self._outside, webhook.url, key_of(webhook.secret))
        now = int(datetime.now(UTC).timestamp())
        try:
            status = await receiver.send(_message_id(webhook), self._content(notification), timestamp=now)
        except ServiceBusy as error:
            raise _NotTaken(error.message, retry_after=error.retry_after) from None
        except RetinueError as error:
            raise _NotTaken(error.message) from None
        if not 200 <= status < 300:
            raise _NotTaken(f"the webhook did not accept it (HTTP {status})", gone=status == httpx.codes.GONE)

    def _content(self, notification: Notification) -> Mapping[str, JsonValue]:
        shown = notification.model_dump(mode="json", exclude={"occasion", "at", "only", "by"}, exclude_none=True)
        data: dict[str, JsonValue] = {**shown, "link": self._links.link(notification)}
        if notification.by:
            data["by"] = list(notification.by)
        return {"type": notification.occasion, "timestamp": notification.at.astimezone(UTC).isoformat(), "data": data}

    def _state(self, error: _NotTaken, attempt: int) -> Delivered:
        if error.gone:
            return Delivered.GONE
        return Delivered.RETRYING if attempt <= len(self._pauses) else Delivered.FAILED

    def _failure(self, error: _NotTaken, state: Delivered, attempt: int) -> ApplicationError:
        final = state is not Delivered.RETRYING
        pause = 0.0 if final else max(self._pauses[attempt - 1], error.retry_after)
        return ApplicationError(
            error.problem,
            type="WebhookNotTaken",
            non_retryable=final,
            next_retry_delay=None if final else timedelta(seconds=pause),
        )

    async def _note(
        self,
        webhook: WebhookRegistration,
        notification: Notification,
        state: Delivered,
        attempt: int,
        problem: str | None = None,
    ) -> None:
        await self._webhooks.note(
            webhook.id, Delivery(datetime.now(UTC), notification.occasion, state, attempt, problem)
        )


def _message_id(webhook: WebhookRegistration) -> str:
    """Return the message id: equal for all attempts, different for each webhook."""
    sender = activity.info().workflow_id
    return f"msg_{hashlib.sha256(f'{sender}/{webhook.id}'.encode()).hexdigest()[:32]}"


async def serve(
    webhooks: Webhooks, *, egress: Egress, links: ConsoleLinks, pauses: Sequence[float], client: Client | None = None
) -> None:
    """Deliver until cancelled, over outages of Temporal, which stores pending messages."""
    async with guarded_client(egress, timeout=_SILENCE, user_agent="retinue-webhooks/1") as http:
        deliveries = Deliveries(webhooks, http, links=links, pauses=pauses)
        while True:
            try:
                await _worker(client or await connect(), deliveries).run()
            except (RuntimeError, RPCError):  # the SDK raises RuntimeError when a connection fails
                _log.warning("webhooks are not delivered now: Temporal cannot be reached")
            await asyncio.sleep(_PAUSE)


def _worker(client: Client, deliveries: Deliveries) -> Worker:
    return Worker(
        client,
        task_queue=WEBHOOK_QUEUE,
        activities=[deliveries.addressees, deliveries.deliver],
        build_id=BUILD_ID,
        max_concurrent_activities=_AT_ONCE,
        graceful_shutdown_timeout=_DRAIN,
    )
