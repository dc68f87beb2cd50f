"""What the reasoning worker runs, and what it opens and closes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError
from temporalio.worker import WorkerConfig

from activities.reasoning.account_names import AccountNames
from activities.reasoning.contract import Reasoning
from activities.reasoning.draft import THROTTLE
from activities.reasoning.known_forms import KnownForms
from activities.reasoning.model import LanguageModel
from activities.reasoning.model_routing import CurrentRouting
from activities.reasoning.models import ReasoningBase
from activities.reasoning.pauses import Pauses
from activities.reasoning.settings import ReasoningSettings
from activities.reasoning.store import OnDemand, TranscriptStore
from activities.reasoning.tools import ReasoningTools
from retinue.accounts.client import AccountsClient, accounts_of
from retinue.activity_adapter import build_activities
from retinue.capability import Manifest
from retinue.errors import ServiceUnavailable
from retinue.store import Store
from retinue.temporal.registry import Directory
from retinue.tenancy import ANY_TENANT

CONTRACT = Reasoning


def plugin(settings: ReasoningSettings | None = None, accounts: AccountNames | None = None) -> SimplePlugin:
    """Return the reasoning capability for a worker.

    Args:
        settings: By default those of the environment.
        accounts: Tells which accounts a person has; by default as the environment says, if anything.
    """
    settings = settings or ReasoningSettings()
    store = Store(settings.database_url, ReasoningBase.metadata, owner=CONTRACT.name, with_ledger=False)
    shared = OnDemand(store.shared())
    model = LanguageModel(settings, Pauses(shared), KnownForms(shared))
    transcripts = TranscriptStore(store)
    known = accounts or accounts_of()
    tools = ReasoningTools(model, _Registry().manifests, transcripts, tool_tokens=settings.tool_tokens, accounts=known)

    @asynccontextmanager
    async def run_context() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await model.close()
            await transcripts.close()
            if isinstance(known, AccountsClient):
                await known.close()

    return _OftenHeard(Reasoning.name, activities=build_activities(tools, tenant=ANY_TENANT), run_context=run_context)


def notice(settings: ReasoningSettings | None = None) -> str:
    """What people should know about how it works here."""
    routing = CurrentRouting(settings or ReasoningSettings())
    if not routing.settings.may_choose or routing.chosen():
        return ""
    return (
        "No language model is set up. A small built-in one follows rules: it understands plain requests about calendar, "
        "mail, weather, contacts and tasks. For a real one, choose it in the console (Capabilities, Language model), or "
        "run bin/retinue model list, or set OPENAI_API_KEY or OPENAI_BASE_URL."
    )


class _OftenHeard(SimplePlugin):
    """A worker whose heartbeats may follow each other fast enough for people to read along."""

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Beside what all have."""
        return WorkerConfig(**{**super().configure_worker(config), "max_heartbeat_throttle_interval": THROTTLE})


class _Registry:
    """The registry through the client of the worker that runs the activity."""

    def __init__(self) -> None:
        self._directory: Directory | None = None

    async def manifests(self, max_age: float) -> list[Manifest]:
        self._directory = self._directory or Directory(activity.client())
        try:
            return await self._directory.manifests(max_age=max_age)
        except RPCError as error:
            raise ServiceUnavailable("the registry of capabilities does not answer") from error
