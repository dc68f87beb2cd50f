"""What runs where: the to-do list's activities on the queue `tasks`, with a store that lives as long as they."""

import httpx
from temporalio.plugin import SimplePlugin

from activities.tasks.contract import Channel, Tasks
from activities.tasks.models import TasksBase
from activities.tasks.settings import TasksSettings
from activities.tasks.tools import TasksTools
from retinue.activity_adapter import build_activities, keep_open
from retinue.network.service_client import ExternalService
from retinue.network.webhooks import MOST_BYTES, Webhook, key_of
from retinue.store import Store
from retinue.tenancy import ANY_TENANT

CONTRACT = Tasks
_TIMEOUT = 10.0


def plugin(settings: TasksSettings | None = None) -> SimplePlugin:
    """Everything that a worker needs to serve this capability."""
    settings = settings or TasksSettings()
    store = Store(settings.database_url, TasksBase.metadata, owner=CONTRACT.name)

    client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) if settings.notify is Channel.WEBHOOK else None

    webhook = _webhook(settings, client) if client else None
    tools = TasksTools(store, channel=settings.notify, webhook=webhook, hears=settings.organisation)
    return SimplePlugin(
        CONTRACT.name, activities=build_activities(tools, tenant=ANY_TENANT), run_context=keep_open(store, client)
    )


def _webhook(settings: TasksSettings, client: httpx.AsyncClient) -> Webhook:
    outside = ExternalService(client, name="the webhook", deadline=2 * _TIMEOUT, most_bytes=MOST_BYTES)
    return Webhook(outside, str(settings.webhook_url), key_of(settings.webhook_secret.get_secret_value()))
