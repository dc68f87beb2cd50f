"""S11: whom a token names, by an issuer that serves its keys; and personal API keys of such people."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.auth import jwks
from api.settings import ApiSettings
from tests.api.auth.issuer import CURVE, EDWARDS, KEY, OTHER, Issuer, Private, bearer, issuing, public
from tests.api.conftest import browsing, refused
from tests.conftest import Stack

Door = httpx.AsyncClient
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as made:
        yield made


@pytest.fixture(scope="module")
async def http(issuer: Issuer, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """A front door that takes this issuer's tokens. Who changes the issuer makes one of their own."""
    async with trusting(issuer, stack, tmp_path_factory.mktemp("tokens")) as client:
        yield client


@asynccontextmanager
async def trusting(issuer: Issuer, stack: Stack, folder: Path, **more: str) -> AsyncIterator[Door]:
    """A front door that takes this issuer's tokens; what is more is set as variables."""
    endless = "10000000/60"
    settings = ApiSettings(
        api_database_url=f"sqlite+aiosqlite:///{folder}/api.db",
        retinue_failed_logins=endless,
        retinue_rate_limit=endless,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**issuer.settings(), **more}.items():
            patch.setenv(name, value)
        app = create_app(settings, client=stack.temporal)
    async with browsing(app) as client:
        yield client


async def test_a_good_token_names_its_person_reversibly(http: Door, issuer: Issuer) -> None:
    me = (await http.get("/v1/me", headers=bearer(issuer.token()))).json()
    assert (me["name"], me["roles"], me["recognised_by"], me["notice"]) == ("auth0~7C7", ["owner"], "token", None)


BAD: dict[str, Callable[[Issuer], str]] = {
    "not a token": lambda _: "x",
    "unsigned": lambda issuer: issuer.token(None, "none"),
    "HS256 with the public key": lambda issuer: _hs256(issuer),
    "another's signature": lambda issuer: issuer.token(OTHER),
    "expired": lambda issuer: issuer.token(exp=time.time() - 60),
    "never expires": lambda issuer: issuer.token(exp=None),
    "for another audience": lambda issuer: issuer.token(aud="elsewhere"),
    "for no audience": lambda issuer: issuer.token(aud=None),
    "of another issuer": lambda issuer: issuer.token(iss="https://id.example.com"),
    "without subject": lambda issuer: issuer.token(sub=None),
    "empty subject": lambda issuer: issuer.token(sub=""),
    "endless subject": lambda issuer: issuer.token(sub="a" * 101),
    "a path as key id": lambda issuer: issuer.token(OTHER, head={"kid": "../../dev/null"}),
    "keys elsewhere": lambda issuer: issuer.token(OTHER, head={"jku": f"{issuer.url}/evil", "kid": "evil"}),
    "brings its key": lambda issuer: issuer.token(OTHER, head={"jwk": public(OTHER, "one")}),
    "too long": lambda issuer: issuer.token(more="a" * 9000),
    "a key nobody has": lambda _: "rtn_" + "a" * 43,
    "not yet valid": lambda issuer: issuer.token(nbf=time.time() + 600),
    "an algorithm that is not the key's": lambda issuer: issuer.token(CURVE, "ES256"),
}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["RS256", "one"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
HEADS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "cty", "jku", "jwk", "x5c"]), JSON_VALUES)
CLAIMS = st.dictionaries(
    st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "roles"]),
    JSON_VALUES | st.sampled_from([10**400, -1, "1e999", 1e308]),
)


def part(content: object) -> bytes:
    return base64.urlsafe_b64encode(content if isinstance(content, bytes) else json.dumps(content).encode()).rstrip(
        b"="
    )


def signed(head: object, claims: object) -> str:
    """A token with our issuer's signature over whatever stands in it, as no library would write it."""
    text = part(head) + b"." + part(claims)
    return (text + b"." + part(KEY.sign(text, PKCS1v15(), SHA256()))).decode()


async def statuses(http: Door, tokens: Iterable[str]) -> set[int]:
    return {(await http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})).status_code for token in tokens}


@pytest.mark.parametrize("value", [[], {}, ["RS256"], 5, None, True, {"RS256": 1}, "none", "rs256", "RS256 "])
@pytest.mark.parametrize("field", ["alg", "kid", "typ", "crit", "b64"])
async def test_a_header_of_the_wrong_kind_is_no_credential(
    http: Door, issuer: Issuer, field: str, value: object
) -> None:
    head = {"alg": "RS256", "kid": "one", field: value}
    claims = {"iss": issuer.url, "aud": "retinue", "sub": "auth0|7", "exp": time.time() + 600, "roles": ["owner"]}
    assert await statuses(
        http, [signed(head, claims), f"{part(head).decode()}.e30.", f"{part(head).decode()}.e30.x"]
    ) <= {
        401,
        *([200] if field in ("typ", "b64") or (field == "kid" and value is None) else []),
    }


def examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """So many values of a strategy, always the same."""
    found: list[Any] = []

    @settings(
        max_examples=count, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def gather(value: Any) -> None:
        found.append(value)

    gather()
    return found


async def test_whatever_stands_in_a_token_it_is_a_bad_one(http: Door, issuer: Issuer) -> None:
    """Signed by the issuer's own key, so that its claims are read too. A mere variation may be a good one."""
    good = {"iss": issuer.url, "aud": "retinue", "sub": "auth0|7", "exp": time.time() + 600, "roles": ["owner"]}
    heads = [signed({"alg": "RS256", "kid": "one"} | head, good) for head in examples(HEADS, 300)]
    claims = [signed({"alg": "RS256", "kid": "one"}, good | said) for said in examples(CLAIMS, 300)]
    odd = [signed(head, said) for head, said in examples(st.tuples(JSON_VALUES, JSON_VALUES), 150)]
    garbage = [
        b".".join(map(part, parts)).decode() for parts in examples(st.lists(st.binary(max_size=20), max_size=5), 150)
    ]
    assert await statuses(http, [*heads, *claims]) <= {200, 401, 403}
    assert await statuses(http, [*odd, *garbage]) <= {401}


def _hs256(issuer: Issuer) -> str:
    """PyJWT itself refuses to sign so; the parts are put together by hand."""
    import base64
    import hashlib
    import hmac

    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=")
    signed = head + b"." + issuer.token().split(".")[1].encode()
    mac = base64.urlsafe_b64encode(hmac.new(PEM, signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + mac).decode()


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_credential_is_refused_in_one_sentence(http: Door, issuer: Issuer, bad: str) -> None:
    response = await http.get("/v1/me", headers=bearer(BAD[bad](issuer)))
    refused(response, 401, "the key or token is not valid here: it is unknown, expired, revoked")
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert "/evil" not in issuer.asked


async def test_of_two_credentials_none_counts(http: Door, issuer: Issuer) -> None:
    good = bearer(issuer.token())["Authorization"]
    refused(await http.get("/v1/me", headers=[("Authorization", good), ("Authorization", "Bearer x")]), 401)
    refused(await http.get("/v1/me", headers=[("Authorization", "Bearer x"), ("Authorization", good)]), 401)


async def test_without_a_credential_one_is_asked_for(http: Door) -> None:
    response = await http.get("/v1/me")
    refused(response, 401, "sign in first")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.fixture
async def own(stack: Stack, tmp_path: Path) -> AsyncIterator[tuple[Issuer, Door]]:
    """An issuer that one test may change, and a door that trusts it."""
    async with issuing() as issuer, trusting(issuer, stack, tmp_path) as http:
        yield issuer, http


async def test_new_keys_are_fetched_but_not_for_every_unknown_one(
    own: tuple[Issuer, Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, http = own
    assert (await http.get("/v1/me", headers=bearer(issuer.token()))).status_code == 200
    issuer.keys, rotated = [public(OTHER, "two")], issuer.token(OTHER, head={"kid": "two"})
    for _ in range(3):
        refused(await http.get("/v1/me", headers=bearer(rotated)), 401)
    assert issuer.asked.count("/jwks") == 1
    monkeypatch.setattr(jwks, "BETWEEN", 0.0)
    assert (await http.get("/v1/me", headers=bearer(rotated))).status_code == 200
    refused(await http.get("/v1/me", headers=bearer(issuer.token())), 401)


async def test_while_keys_rotate_old_and_new_ones_hold(own: tuple[Issuer, Door]) -> None:
    issuer, http = own
    issuer.keys.append(public(OTHER, "two"))
    both = [issuer.token(), issuer.token(OTHER, head={"kid": "two"})]
    assert [(await http.get("/v1/me", headers=bearer(token))).status_code for token in both] == [200, 200]
    refused(await http.get("/v1/me", headers=bearer(issuer.token(head={"kid": "two"}))), 401)


async def test_the_last_keys_serve_for_a_bounded_time_while_the_issuer_is_away(
    own: tuple[Issuer, Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, http = own
    monkeypatch.setattr(jwks, "FIRST_AGAIN", 0.0)
    issuer.away = True
    refused(await http.get("/v1/me", headers=bearer(issuer.token())), 503, "identity provider")
    issuer.away = False
    assert (await http.get("/v1/me", headers=bearer(issuer.token()))).status_code == 200
    issuer.away = True
    monkeypatch.setattr(jwks, "FRESH", 0.0)
    monkeypatch.setattr(jwks, "BETWEEN", 0.0)
    assert (await http.get("/v1/me", headers=bearer(issuer.token()))).status_code == 200
    monkeypatch.setattr(jwks, "STALE", 0.0)
    refused(await http.get("/v1/me", headers=bearer(issuer.token())), 503)


async def test_keys_without_end_are_not_read(own: tuple[Issuer, Door]) -> None:
    issuer, http = own
    issuer.padding = 300_000
    refused(await http.get("/v1/me", headers=bearer(issuer.token())), 503, "identity provider")


async def test_the_first_who_come_wait_together_for_the_first_keys(own: tuple[Issuer, Door]) -> None:
    issuer, http = own
    issuer.answers.clear()
    first = [asyncio.create_task(http.get("/v1/me", headers=bearer(issuer.token()))) for _ in range(5)]
    await issuer.asked_again(0)
    issuer.answers.set()
    assert {answer.status_code for answer in await asyncio.gather(*first)} == {200}
    assert len([path for path in issuer.asked if path == "/jwks"]) == 1


async def test_an_issuer_that_hangs_holds_nobody_up_who_is_known(
    own: tuple[Issuer, Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever brings an unknown key makes one request wait, for a bounded time; the others go on by the keys we have."""
    issuer, http = own
    assert (await http.get("/v1/me", headers=bearer(issuer.token()))).status_code == 200
    monkeypatch.setattr(jwks, "BETWEEN", 0.0)
    monkeypatch.setattr(jwks, "_TIMEOUT", 60.0)
    issuer.answers.clear()
    before = len(issuer.asked)
    unknown = asyncio.create_task(http.get("/v1/me", headers=bearer(issuer.token(head={"kid": "guessed"}))))
    await issuer.asked_again(before)
    monkeypatch.setattr(jwks, "FRESH", 0.0)
    async with asyncio.timeout(30):
        assert (await http.get("/v1/me", headers=bearer(issuer.token()))).status_code == 200
    assert not unknown.done()
    issuer.answers.set()
    refused(await unknown, 401)


async def test_an_issuer_that_hangs_from_the_start_is_given_up(
    own: tuple[Issuer, Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, http = own
    monkeypatch.setattr(jwks, "_TIMEOUT", 0.2)
    issuer.answers.clear()
    refused(await http.get("/v1/me", headers=bearer(issuer.token())), 503, "identity provider")
    issuer.answers.set()


@pytest.mark.parametrize(("key", "alg"), [(CURVE, "ES256"), (EDWARDS, "EdDSA")], ids=["ES256", "EdDSA"])
async def test_curves_sign_as_well(own: tuple[Issuer, Door], key: Private, alg: str) -> None:
    issuer, http = own
    issuer.keys = [public(key, "one", alg)]
    assert (await http.get("/v1/me", headers=bearer(issuer.token(key, alg)))).status_code == 200
    refused(await http.get("/v1/me", headers=bearer(issuer.token())), 401)


async def test_the_claims_that_name_organisation_and_roles_are_configured(
    issuer: Issuer, stack: Stack, tmp_path: Path
) -> None:
    variables = {
        "RETINUE_OIDC_TENANT_CLAIM": "org",
        "RETINUE_OIDC_NAME_CLAIM": "email",
        "RETINUE_OIDC_ROLES": '{"staff": "owner", "audit": "auditor"}',
    }
    async with trusting(issuer, stack, tmp_path, **variables) as http:

        async def me(**claims: Any) -> tuple[str, str, list[str]]:
            found = (await http.get("/v1/me", headers=bearer(issuer.token(email="anna@example.com", **claims)))).json()
            return found["name"], found["tenant"], found["roles"]

        assert await me(org="acme:1", roles=["audit", "staff", "root", 7]) == (
            "anna@example.com",
            "acme~3A1",
            ["auditor", "owner"],
        )
        assert await me(org="umbrella", roles="staff owner") == ("anna@example.com", "umbrella", ["owner"])
        nowhere: list[dict[str, Any]] = [{}, {"org": ""}, {"org": ["acme"]}, {"org": "acme", "email": None}]
        for claims in nowhere:
            refused(await http.get("/v1/me", headers=bearer(issuer.token(**({"email": "a@b"} | claims)))), 401)
        nobody = issuer.token(email="anna@example.com", org="acme", roles=["owner"])
        refused(await http.get("/v1/me", headers=bearer(nobody)), 403)


async def made(http: Door, credential: str, **body: Any) -> dict[str, Any]:
    response = await http.post("/v1/keys", json={"name": "laptop", **body}, headers=bearer(credential))
    assert response.status_code == 201, response.text
    key: dict[str, Any] = response.json()
    return key


async def test_a_key_is_kept_as_a_hash_and_ends_when_revoked(own: tuple[Issuer, Door], tmp_path: Path) -> None:
    issuer, http = own
    key = await made(http, issuer.token())
    assert (await http.get("/v1/me", headers=bearer(key["key"]))).json()["recognised_by"] == "key"
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("api.db*"))
    assert key["prefix"].encode() in kept
    assert key["key"].encode() not in kept
    assert key["key"] not in (await http.get("/v1/keys", headers=bearer(issuer.token()))).text
    at = f"/v1/keys/{key['id']}"
    refused(await http.delete(at, headers=bearer(issuer.token(sub="ben"))), 404)
    assert (await http.delete(at, headers=bearer(issuer.token()))).status_code == 204
    refused(await http.get("/v1/me", headers=bearer(key["key"])), 401, "not valid here")


async def test_an_expired_key_is_worthless_and_so_is_the_session_it_began(
    own: tuple[Issuer, Door], tmp_path: Path
) -> None:
    issuer, http = own
    key = await made(http, issuer.token())
    assert (await http.post("/v1/session", headers=bearer(key["key"]))).status_code == 201
    assert (await http.get("/v1/me")).json()["recognised_by"] == "key"
    with sqlite3.connect(tmp_path / "api.db", timeout=10) as database:
        database.execute("UPDATE api_keys SET expires_at = '2026-01-01 00:00:00'")
    refused(await http.get("/v1/me", headers=bearer(key["key"])), 401, "expired")
    refused(await http.get("/v1/me"), 401, "expired")
    [shown] = (await http.get("/v1/keys", headers=bearer(issuer.token()))).json()["keys"]
    assert shown["expires_at"].startswith("2026-01-01")


async def test_a_key_does_no_more_than_its_scopes_and_makes_none_that_does(http: Door, issuer: Issuer) -> None:
    key = (await made(http, issuer.token(), scopes=["read", "keys"]))["key"]
    refused(await http.post("/v1/assistants", json={"message": "Hello"}, headers=bearer(key)), 403, "'ask'")
    refused(await http.post("/v1/keys", json={"name": "x", "scopes": ["ask"]}, headers=bearer(key)), 403, "ask")
    late = {"name": "x", "expires_at": "2999-01-01T00:00:00Z"}
    refused(await http.post("/v1/keys", json=late, headers=bearer(key)), 422, "expires_at")
    soon = datetime.now(UTC) + timedelta(hours=1)
    short = (await made(http, key, expires_at=soon.isoformat()))["key"]
    later = {"name": "x", "expires_at": (soon + timedelta(minutes=1)).isoformat()}
    refused(await http.post("/v1/keys", json=later, headers=bearer(short)), 422, "expires_at")  # outlives its maker
    assert sorted((await made(http, key))["scopes"]) == ["keys", "read"]


async def test_a_key_of_a_person_who_lost_a_role_lost_it_too(http: Door, issuer: Issuer) -> None:
    key = (await made(http, issuer.token()))["key"]
    assert "ask" in (await http.get("/v1/me", headers=bearer(key))).json()["permissions"]
    await http.get("/v1/me", headers=bearer(issuer.token(roles=["auditor"])))
    assert (await http.get("/v1/me", headers=bearer(key))).json()["permissions"] == ["read", "keys"]
    await http.get("/v1/me", headers=bearer(issuer.token(roles=[])))
    refused(await http.get("/v1/me", headers=bearer(key)), 403)


async def test_a_single_user_is_told_so_and_a_bad_key_is_refused_all_the_same(stack: Stack) -> None:
    me = (await stack.http.get("/v1/me")).json()
    assert (me["name"], me["recognised_by"]) == ("local", "single-user")
    assert "single-user" in me["notice"]
    refused(await stack.http.get("/v1/me", headers=bearer("rtn_guessed")), 401)
