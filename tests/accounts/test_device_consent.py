"""A consent that is given on another device, over a real authority: it counts once, and for who began it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from accounts.app import create_app
from accounts.settings import AccountsServiceSettings
from retinue.accounts import caller_keys
from retinue.accounts.people import PersonsAccounts
from retinue.accounts.service import AccountsService
from retinue.accounts.wire import BeginDevice, FinishOAuth, PollDevice
from retinue.errors import InvalidArguments
from retinue.temporal import keyring
from retinue.testing import serving
from tests.accounts.emulators import Emulators
from tests.accounts.oauth_clients import CLI, flows_over

Side = Callable[[str], PersonsAccounts]


@pytest.fixture
async def side(emulators: Emulators, tmp_path: Path) -> AsyncIterator[Side]:
    """The people's side of the service, by person."""
    emulators.reset()
    settings = AccountsServiceSettings(
        accounts_database_url=f"sqlite+aiosqlite:///{tmp_path}/accounts.db",
        retinue_accounts_root_key_file=keyring.create_key_file(tmp_path / "root.key"),
        retinue_accounts_seal_key_file=keyring.create_key_file(tmp_path / "seal.key"),
    )
    async with serving(create_app(settings, oauth=flows_over(emulators, tmp_path))) as url:
        service = AccountsService(url, front_door_key(settings))
        yield lambda person: PersonsAccounts(service, person)
        await service.close()


def front_door_key(settings: AccountsServiceSettings) -> SecretStr:
    return SecretStr(caller_keys.bearer_of_people(settings.root_keys()))


async def test_who_agrees_on_another_device_is_connected_once(side: Side, emulators: Emulators) -> None:
    anna = side("acme:anna")
    begun = await anna.begin_device(BeginDevice(provider_id=CLI, capabilities=["email"], name="work"))
    polled = PollDevice(state=begun.state)
    assert (await anna.poll_device(polled)).connected is None
    emulators.consent_on_device(begun.verification_uri_complete or begun.verification_uri, "ana")
    with pytest.raises(InvalidArguments, match="begin again"):
        await side("acme:ben").poll_device(polled)
    connected = (await anna.poll_device(polled)).connected
    assert connected is not None
    assert (connected.account.name, connected.account.address) == ("work", "ana@example.net")
    with pytest.raises(InvalidArguments, match="begin again"):
        await anna.poll_device(polled)
    assert (await side("acme:ben").list()).accounts == []


async def test_a_state_of_one_way_does_not_count_in_the_other(side: Side) -> None:
    anna = side("acme:anna")
    begun = await anna.begin_device(BeginDevice(provider_id=CLI, capabilities=["email"]))
    with pytest.raises(InvalidArguments, match="begin again"):
        await anna.finish_oauth(FinishOAuth.model_validate({"state": begun.state, "code": "canary-code"}))
    assert (await anna.poll_device(PollDevice(state=begun.state))).connected is None


async def test_a_provider_without_such_a_flow_says_so(side: Side) -> None:
    with pytest.raises(InvalidArguments, match="cannot be connected by a code on another device"):
        await side("anna").begin_device(BeginDevice(provider_id="google", capabilities=["email"]))
