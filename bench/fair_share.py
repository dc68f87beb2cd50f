"""`python -m bench.fair_share`: how long a small organisation waits while a large one has hundreds of runs queued.

Starts a private stack with an identity provider of its own, whose tokens name two organisations, and a language model that
takes a second for each answer. The pools are sized so that the model's second, and not this machine's processors, is what
the runs wait for: 500 runs are then a backlog of some minutes. First the small organisation asks for its runs alone, then
again while the backlog of the other stands.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from bench.model import FINAL, completion
from cli.private_stack import PrivateStack, private_stack

SECONDS = 1.0
"""Of the model, for each answer."""
CONCURRENCY = 6
"""Steps that each pool does at a time."""
GOAL = 2.0
_KEY = generate_private_key(65537, 2048)
_PLAN = completion(
    json.dumps(
        {
            "steps": [{"id": "s1", "tool": "contacts.find", "args": {"name": "Ana"}, "depends_on": [], "why": "her"}],
            "question": None,
            "reply": None,
            "final": True,
        }
    )
)


class _Outside(BaseHTTPRequestHandler):
    """The model and the identity provider's keys, on one port."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_KEY.public_key()))
        self._answer(json.dumps({"keys": [{**key, "kid": "one", "use": "sig", "alg": "RS256"}]}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(SECONDS)
        self._answer(_PLAN if asked.get("response_format") else FINAL)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _outside() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Outside)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def _token(issuer: str, tenant: str) -> str:
    claims = {"iss": issuer, "aud": "bench", "sub": "anna", "org": tenant, "exp": time.time() + 7200}
    return jwt.encode(claims, _KEY, algorithm="RS256", headers={"kid": "one"})


@dataclass(frozen=True)
class Person:
    """Somebody of an organisation, at the front door."""

    http: httpx.AsyncClient
    headers: dict[str, str]

    async def start(self, number: int) -> str:
        """A run that has been acknowledged."""
        answer = await self.http.post("/v1/assistants", json={"message": f"Who is Ana? {number}"}, headers=self.headers)
        if answer.is_error:
            raise SystemExit(f"a run was refused: {answer.text}")
        assistant_id: str = answer.json()["id"]
        return assistant_id

    async def seconds(self, number: int) -> float:
        """How long a run takes from the request to its end."""
        began = time.perf_counter()
        assistant_id = await self.start(number)
        while True:
            answer = await self.http.get(
                f"/v1/assistants/{assistant_id}", params={"wait_seconds": 20}, headers=self.headers, timeout=60
            )
            answer.raise_for_status()
            if answer.json()["status"] == "completed":
                return time.perf_counter() - began

    async def p50(self, runs: int) -> float:
        """Of so many runs that are asked for at once."""
        return statistics.median(await asyncio.gather(*(self.seconds(number) for number in range(runs))))

    async def unfinished(self) -> int:
        """How many of their latest 100 runs go on."""
        answer = await self.http.get("/v1/assistants", params={"status": "running", "limit": 100}, headers=self.headers)
        return len(answer.json()["assistants"])


async def _measured(stack: PrivateStack, issuer: str, *, heavy: int, light: int, rounds: int) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
        small = Person(http, {"Authorization": f"Bearer {_token(issuer, 'small')}"})
        large = Person(http, {"Authorization": f"Bearer {_token(issuer, 'large')}"})
        await small.p50(light)  # the first ones warm everything up
        alone = [await small.p50(light) for _ in range(rounds)]
        for first in range(0, heavy, 20):
            await asyncio.gather(*(large.start(number) for number in range(first, first + 20)))
        beside = [await small.p50(light) for _ in range(rounds)]
        left = await large.unfinished()
    return {
        "queued": heavy,
        "alone_s": [round(one, 2) for one in alone],
        "beside_s": [round(one, 2) for one in beside],
        "ratio": round(statistics.median(beside) / statistics.median(alone), 2),
        "of_the_backlog_left_at_the_end": f"{left} of the latest 100",
    }


def main(arguments: list[str]) -> int:
    """Measure and print; returns 1 where the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.fair_share", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heavy", type=int, default=500, help="runs of the large organisation (a multiple of 20)")
    parser.add_argument("--light", type=int, default=5, help="runs of the small one")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    with (
        _outside() as issuer,
        private_stack(
            keep=False,
            prefix="retinue-fair-",
            OPENAI_BASE_URL=issuer,
            OPENAI_API_KEY="none",
            RETINUE_OIDC_ISSUER=issuer,
            RETINUE_OIDC_AUDIENCE="bench",
            RETINUE_OIDC_JWKS_URL=f"{issuer}/jwks",
            RETINUE_OIDC_TENANT_CLAIM="org",
            RETINUE_RATE_LIMIT="60000/60",
            RETINUE_WORKER_CONCURRENCY=str(CONCURRENCY),
            WEATHER_PROVIDER="simulated",
        ) as stack,
    ):
        stack.await_ready()
        found = asyncio.run(_measured(stack, issuer, heavy=chosen.heavy, light=chosen.light, rounds=chosen.rounds))
    print(json.dumps(found, indent=2))
    return 0 if found["ratio"] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
