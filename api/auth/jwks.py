"""The public keys of an identity provider: fetched from where the configuration says, never from where a token does."""

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
"""Seconds for which the last keys serve while the issuer is away."""
BETWEEN = 60.0
"""Seconds between two looks for an unknown key, or for new ones."""
FIRST_AGAIN = 2.0
"""Seconds between two attempts as long as there were never any keys."""
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
        """The key of that id; without an id the only one. None if the issuer has none such.

        Raises:
            ServiceUnavailable: The issuer is away, and there are no keys that still serve.
        """
        if not self._serves(kid) or (self._is_due(kid) and not self._lock.locked()):
            async with self._lock:  # who looks right now looks for everybody
                if self._is_due(kid):
                    await self._refresh()
        if self._age(self._fetched) > STALE:
            raise ServiceUnavailable(
                "who you are cannot be checked: the identity provider does not answer", hint="try again in a minute"
            )
        return self._found(kid)

    def _serves(self, kid: str | None) -> bool:
        """Whether what we have is good enough while somebody else's request looks for new keys: nobody waits for that."""
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
        """Fetch the keys; what was there stays when that fails."""
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
        """Where the keys are, as the issuer's discovery document says.

        Raises:
            ValueError: It is another issuer's, or names no address that can be believed.
        """
        document = await _document(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        url = document.get("jwks_uri")
        if document.get("issuer") != self._issuer or not isinstance(url, str) or not may_be_asked(url):
            raise ValueError("the discovery document is not the issuer's")
        return url


async def _document(http: Any, url: str) -> dict[str, Any]:
    """A JSON object of bounded size; redirects are not followed."""
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
        raise ValueError("no object")  # it is the issuer's value, not our type
    return found


def _usable(document: dict[str, Any]) -> dict[str, PyJWK]:
    """The keys that sign by an algorithm of ours; others are passed over.

    Raises:
        ValueError: There is none.
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
