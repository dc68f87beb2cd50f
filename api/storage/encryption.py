"""What only the caller can open again: sealed with a secret that they bring along each time and that is kept nowhere.

A copy of the database alone tells neither what was answered nor who is signed in. Short secrets can be guessed, so an
Idempotency-Key should be a UUID; the secrets that we make have 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_NONCE = 12


def encrypt(secret: str, plain: bytes, *, about: str) -> bytes:
    """Encrypt and authenticate.

    Args:
        secret: Of the caller.
        plain: What to keep.
        about: What it belongs to; it opens only for the same.
    """
    # here, since it costs 7 MB, which nobody pays who never sends a key
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(_key(secret)).encrypt(nonce, plain, about.encode())


def decrypt(secret: str, sealed: bytes, *, about: str) -> bytes | None:
    """What was sealed, or None where it is another secret, about something else, or was changed."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(_key(secret)).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
    except (InvalidTag, ValueError):
        return None


def _key(secret: str) -> bytes:
    return hmac.new(b"retinue/sealed", secret.encode(), hashlib.sha256).digest()
