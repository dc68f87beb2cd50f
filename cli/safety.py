"""The doctor's security checks: authentication, decisions, encryption, access to Temporal."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pydantic import ValidationError

from cli import local
from cli.findings import Finding, Level
from retinue.settings import temporal_address
from retinue.temporal.codec import EncryptionSettings
from retinue.temporal.proofs import Mode, ProofSettings

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def examine() -> Iterator[Finding]:
    """Yield all security checks. They call no service."""
    try:
        settings = ProofSettings()
    except ValidationError as error:
        yield Finding("decisions", Level.FAIL, error.errors()[0]["msg"], "set RETINUE_DECISIONS to open or proved")
        return
    yield callers(settings)
    yield decisions(settings)
    yield encryption()
    yield protocols()
    if temporal_address() is None:
        yield temporal_ports()


def callers(settings: ProofSettings) -> Finding:
    """Check how the API authenticates callers."""
    host = local.settings().host
    if settings.retinue_oidc_issuer:
        return Finding("who calls", Level.OK, f"people sign in at {settings.retinue_oidc_issuer}, or have API keys")
    if settings.retinue_user_header:
        advice = "only the proxy may reach the API, and it must set the header itself"
        return Finding("who calls", Level.OK, f"a proxy names people in {settings.retinue_user_header}", advice)
    if host in _LOOPBACK:
        return Finding("who calls", Level.OK, "single user: anyone who reaches it on loopback")
    if os.environ.get("RETINUE_PRIVATE_ADDRESS", "").lower() in ("1", "true", "yes", "on"):
        advice = "make sure that only you reach that address (RETINUE_PRIVATE_ADDRESS)"
        return Finding("who calls", Level.WARN, f"single user: anyone who reaches {host}", advice)
    advice = "set RETINUE_HOST=127.0.0.1, or RETINUE_OIDC_ISSUER and RETINUE_OIDC_AUDIENCE; see docs/security.md"
    return Finding("who calls", Level.FAIL, f"no sign-in, and the address {host} is not loopback", advice)


def decisions(settings: ProofSettings) -> Finding:
    """Check whose decisions Temporal accepts."""
    if settings.mode() is Mode.OPEN:
        apart = settings.retinue_oidc_issuer or settings.retinue_user_header
        advice = "unset RETINUE_DECISIONS, or set it to proved" if apart else ""
        level = Level.WARN if apart else Level.OK
        return Finding("decisions", level, "from anyone who reaches Temporal (mode open)", advice)
    try:
        keyring = settings.configured_keyring()
    except ValueError as error:
        return Finding(
            "decisions", Level.FAIL, str(error), "`python -P -m retinue.temporal.keyring new-key` makes a key"
        )
    where = f"signed with {keyring.primary}" if keyring else "with a generated key in the data folder"
    return Finding("decisions", Level.OK, f"only through the API (mode proved), {where}")


def encryption() -> Finding:
    """Check whether payloads are encrypted at Temporal."""
    try:
        keyring = EncryptionSettings().codec().keyring
    except (ValueError, ValidationError) as error:
        return Finding("encryption", Level.FAIL, str(error), "see docs/encryption.md")
    if keyring is None:
        return Finding(
            "encryption", Level.OK, "off: anyone who reads Temporal's database reads the contents of assistants"
        )
    return Finding("encryption", Level.OK, f"on, written with {keyring.primary}; {len(keyring.keys)} keys can be read")


def protocols() -> Finding:
    """List the enabled protocols."""
    named = os.environ.get("RETINUE_DOORS", "").strip()
    enabled = "none" if named == "-" else named or "all"
    return Finding("protocols", Level.OK, f"{enabled}, besides the API (RETINUE_DOORS; docs/protocols.md)")


def temporal_ports() -> Finding:
    """Check where the embedded Temporal listens, since it has no authentication."""
    host = local.settings().host
    if host in _LOOPBACK:
        return Finding("Temporal's ports", Level.OK, f"on {host} alone")
    advice = (
        "set RETINUE_HOST=127.0.0.1 and put a proxy before the API; anyone who reaches these ports can read all data"
    )
    return Finding("Temporal's ports", Level.WARN, f"open on {host}, without authentication", advice)
