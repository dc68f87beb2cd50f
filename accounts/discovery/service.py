"""What the accounts service uses: finds servers, and tests an account's."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr

from accounts.discovery.finder import Finder
from accounts.discovery.names import DnsNames
from accounts.discovery.sign_in import sign_in
from retinue.accounts.connection import Connection, Provider
from retinue.accounts.wire import FoundServers
from retinue.errors import NotFound
from retinue.network.egress import Egress, guarded_client

_TIMEOUT = 8.0


class ServerDiscovery:
    """Implements `Discovery`.

    Args:
        ispdb: Whether Mozilla's list of providers may be asked.
        finder: Another one, for tests.
    """

    def __init__(self, *, ispdb: bool = False, finder: Finder | None = None) -> None:
        egress = Egress()
        self._client = guarded_client(egress, timeout=_TIMEOUT, user_agent="retinue")
        self._finder = finder or Finder(self._client, DnsNames(), egress, ispdb=ispdb)

    async def discover(self, address: str) -> list[FoundServers]:
        """Return the ways to connect an address, best first. No password is sent, and of the address only the domain.

        Raises:
            InvalidArguments: It is neither a mail address nor the address of a server.
        """
        return await self._finder.find(address)

    async def endpoints(
        self, provider: Provider, address: str, *, username: str, password: SecretStr
    ) -> dict[str, str]:
        """Return the endpoints of an account that gave none: those at the address's own domain.

        The person has not seen them, so servers elsewhere are not used, and no password is sent here.

        Raises:
            NotFound: None was found there; the person gives them.
        """
        del username, password
        for found in await self._finder.find(address):
            if found.provider_id != provider:
                continue
            if all(_is_own(url, address) for url in found.endpoints.values()):
                return found.endpoints
            told = ", ".join(found.endpoints.values())
            raise NotFound(f"the servers found are not at your own domain: {told}", hint="give these to agree to them")
        raise NotFound("the servers were not found by the address", hint="give their addresses")

    async def test(self, connection: Connection) -> None:
        """Sign in and out.

        Raises:
            AccountDisconnected: The service refuses the secret.
            ServiceRefused: The server cannot be used: there is no collection, or its certificate is not to be trusted.
            ServiceUnavailable: It does not answer.
        """
        await sign_in(connection)

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._client.aclose()


def _is_own(url: str, address: str) -> bool:
    host = urlsplit(url).hostname or ""
    domain = urlsplit(address).hostname if "://" in address else address.rpartition("@")[2].casefold()
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
