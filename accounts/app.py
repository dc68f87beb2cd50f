"""The application: its routes, and what it opens and closes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from accounts import errors
from accounts.body_limit import BodyLimit
from accounts.deps import Parts
from accounts.discovery.service import ServerDiscovery
from accounts.oauth.flows import ProviderFlows
from accounts.oauth.providers import providers
from accounts.oauth.settings import OAuthSettings
from accounts.oauth_flows import OAuthFlows
from accounts.password_accounts import Discovery
from accounts.routes import admin, health, people, steps
from accounts.sealing import Sealer
from accounts.services.accounts import AccountBook
from accounts.services.audit import Refusals
from accounts.services.consents import Consents
from accounts.services.lost_keys import any_sealed
from accounts.services.rules import RuleBook
from accounts.services.secrets import AccountSecrets
from accounts.services.steps import Steps
from accounts.settings import AccountsServiceSettings
from accounts.storage.tables import AccountsBase
from retinue.accounts.caller_keys import pass_keys
from retinue.store import Store
from retinue.temporal.keyring import Keyring, parse_keys


def open_store(settings: AccountsServiceSettings) -> Store:
    """Return the service's database, not yet open."""
    return Store(settings.accounts_database_url, AccountsBase.metadata, owner="accounts", with_ledger=False)


def create_app(
    settings: AccountsServiceSettings | None = None,
    *,
    oauth: OAuthFlows | None = None,
    discovery: Discovery | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        settings: By default read from the environment.
        oauth: Providers with OAuth; by default those of the environment.
        discovery: Finds and tests servers; by default over the internet.

    Raises:
        ValueError: A key is malformed or cannot be read. The message contains no part of a key.
    """
    chosen = settings or AccountsServiceSettings()
    sealer, root = Sealer(chosen.seal_keys()), chosen.root_keys()
    flows = oauth or ProviderFlows(providers(OAuthSettings()))
    finder = discovery or ServerDiscovery(ispdb=chosen.accounts_ispdb)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_store(chosen) as store:
            if not await any_sealed(store):  # a lost key file must be restored: a new one would hide what is lost
                sealer.keys.create_first(shared=store.is_server)
            app.state.parts = _parts(chosen, store, sealer, root, flows, finder)
            yield
            await flows.close()
            await finder.close()

    app = FastAPI(title="Retinue accounts", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    app.add_middleware(BodyLimit)
    for module in (people, admin, steps, health):
        app.include_router(module.router)
    return app


def _parts(
    settings: AccountsServiceSettings, store: Store, sealer: Sealer, root: Keyring, oauth: OAuthFlows, finder: Discovery
) -> Parts:
    rules, refusals = RuleBook(store), Refusals(store)
    secrets = AccountSecrets(store, sealer, oauth, hint=settings.connect_hint())
    book = AccountBook(store, sealer, secrets, rules, oauth, finder, private=settings.accounts_private_hosts)
    passes = parse_keys(pass_keys(root), kind="accounts_pass")
    return Parts(
        store=store,
        sealer=sealer,
        root=root,
        book=book,
        consents=Consents(store, sealer, book, rules, oauth, refusals),
        rules=rules,
        steps=Steps(store, secrets, rules, refusals, passes, private=settings.accounts_private_hosts),
        refusals=refusals,
        oauth=oauth,
    )
