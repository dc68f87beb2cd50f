"""Public keys of an identity provider: fetched from the configured address, never from one in a token."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from api.auth.settings import may_be_asked
from retinue.errors import ServiceUnavailable

if TYPE_CHECKING:
    from jwt import PyJWK

FRESH = 600.0
"""Seconds after which the keys are fetched again."""
STALE = 86_400.0
"""Seconds for which the last keys are used while the issuer does not answer."""
BETWEEN = 60.0
"""Seconds between two fetches for an unknown key."""
FIRST_AGAIN = 2.0
"""Seconds between two attempts before the first success."""
_TIMEOUT = 5.0
_LARGEST = 256 * 1024
_MOST_KEYS = 50
_SMALLEST_RSA = 2048
_ALGORITHMS = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_log = logging.getLogger("retinue.api")


class Jwks:
    """The keys of one issuer."""

    def __init__(self, issuer: str, url: str | None) -> None:
        self._issuer, self._url = issuer, url
        self._keys: dict[str, PyJWK] = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._lock = asyncio.Lock()

    async def key(self, kid: str | None) -> PyJWK | None:
        """Return the key with this id; without an id the only key. None if there is none.

        Raises:
            ServiceUnavailable: The issuer does not answer, and there are no usable cached keys.
        """
        if not self._serves(kid) or (self._is_due(kid) and not self._lock.locked()):
            async with self._lock:  # one fetch serves all waiting requests
                if self._is_due(kid):
                    await self._refresh()
        if self._age(self._fetched) > STALE:
            raise ServiceUnavailable(
                "the key or token cannot be checked: the identity provider does not answer",
                hint="try again in a minute",
            )
        return self._found(kid)

    def _serves(self, kid: str | None) -> bool:
        """Return whether the cached keys suffice while another request fetches new ones."""
        return self._age(self._fetched) <= STALE and self._found(kid) is not None

    def _found(self, kid: str | None) -> PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _is_due(self, kid: str | None) -> bool:
        pause = BETWEEN if self._keys else FIRST_AGAIN
        wanted = self._age(self._fetched) > FRESH or self._found(kid) is None
        return wanted and self._age(self._tried) >= pause

    @staticmethod
    def _age(since: float | None) -> float:
        return float("inf") if since is None else time.monotonic() - since

    async def _refresh(self) -> None:
        """Fetch the keys; keep the old ones if that fails."""
        import httpx

        self._tried = time.monotonic()
        try:
            async with asyncio.timeout(2 * _TIMEOUT), httpx.AsyncClient(timeout=_TIMEOUT) as http:
                found = _usable(await _document(http, self._url or await self._discovered(http)))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
            _log.warning("the keys of the identity provider cannot be read: %s", type(error).__name__)
            return
        self._keys, self._fetched = found, time.monotonic()

    async def _discovered(self, http: Any) -> str:
        """Return the keys' address from the issuer's discovery document.

        Raises:
            ValueError: It is another issuer's, or its address is not trustworthy.
        """
        document = await _document(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        url = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(url, str) or not may_be_asked(url):
            raise ValueError("the discovery document is not the issuer's")
        return url


async def _document(http: Any, url: str) -> dict[str, Any]:
    """Fetch a JSON object of bounded size; redirects are not followed."""
    read = bytearray()
    async with http.stream("GET", url) as response:
        if response.status_code != 200:
            raise ValueError("no 200")
        async for chunk in response.aiter_bytes(16_384):
            read += chunk
            if len(read) > _LARGEST:
                raise ValueError("too large")
    found = json.loads(read)
    if not isinstance(found, dict):
        raise ValueError("no object")  # the issuer's value may have any type
    return found


def _usable(document: dict[str, Any]) -> dict[str, PyJWK]:
    """Return the keys with a supported algorithm; others are ignored.

    Raises:
        ValueError: There is no such key.
    """
    listed = document.get("keys")
    keys: dict[str, PyJWK] = {}
    for raw in (listed if isinstance(listed, list) else [])[:_MOST_KEYS]:
        key = _key(raw) if isinstance(raw, dict) else None
        if key is not None:
            keys[str(raw.get("kid", ""))] = key
    if not keys:
        raise ValueError("no usable key")
    return keys


def _key(raw: dict[str, Any]) -> PyJWK | None:
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    algorithm = _ALGORITHMS.get((str(raw.get("kty")), str(raw.get("crv", ""))))
    if algorithm is None or raw.get("use", "sig") != "sig" or raw.get("alg", algorithm) != algorithm:
        return None
    try:
        key = PyJWK(raw, algorithm=algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None
    return key if getattr(key.key, "key_size", _SMALLEST_RSA) >= _SMALLEST_RSA or algorithm != "RS256" else None
