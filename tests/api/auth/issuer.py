"""An identity provider on a loopback port, and what it signs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_curve_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retinue.testing import serving

KEY, OTHER = generate_private_key(65537, 2048), generate_private_key(65537, 2048)
CURVE, EDWARDS = generate_curve_key(SECP256R1()), Ed25519PrivateKey.generate()
Private = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
_WRITERS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def public(key: Private, kid: str, alg: str = "RS256") -> dict[str, Any]:
    """As a JWKS has it."""
    return {**json.loads(_WRITERS[alg].to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": alg}


@dataclass
class Issuer:
    """An identity provider."""

    url: str = ""
    away: bool = False
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public(KEY, "one")])
    asked: list[str] = field(default_factory=list)
    padding: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        await self.answers.wait()
        about = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        body = {"keys": self.keys, "more": "x" * self.padding} if request.url.path == "/jwks" else about
        return JSONResponse(body, status_code=500 if self.away else 200)

    async def asked_again(self, before: int) -> None:
        """Wait until it was asked more than that often."""
        while len(self.asked) <= before:  # noqa: ASYNC110  # a list has no event
            await asyncio.sleep(0.01)

    def token(self, key: Any = KEY, alg: str = "RS256", head: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token, but for what is said otherwise; a claim of None is left out."""
        said = {"iss": self.url, "aud": "retinue", "sub": "auth0|7", "exp": time.time() + 600, "roles": ["owner"]}
        said = {name: value for name, value in (said | claims).items() if value is not None}
        return jwt.encode(said, key, algorithm=alg, headers={"kid": "one"} | (head or {}))

    def settings(self) -> dict[str, str]:
        """What an installation that trusts it has in its environment."""
        return {
            "RETINUE_OIDC_ISSUER": self.url,
            "RETINUE_OIDC_AUDIENCE": "retinue",
            "RETINUE_OIDC_ROLES_CLAIM": "roles",
        }


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """An identity provider that answers."""
    made = Issuer()
    made.answers.set()
    async with serving(Starlette(routes=[Route("/{path:path}", made.answer)])) as made.url:
        yield made


def bearer(token: str) -> dict[str, str]:
    """The header that brings a key or token along."""
    return {"Authorization": f"Bearer {token}"}
