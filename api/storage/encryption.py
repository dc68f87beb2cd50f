"""Encryption with a secret that the caller sends with each request and that is not stored.

A copy of the database alone reveals neither answers nor sessions. Short secrets can be guessed, so an Idempotency-Key
should be a UUID; our own secrets have 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_NONCE = 12


def encrypt(secret: str, plain: bytes, *, about: str) -> bytes:
    """Encrypt and authenticate.

    Args:
        secret: The caller's secret.
        plain: The data.
        about: Associated data; decryption needs the same.
    """
    # imported here: it costs 7 MB, which only requests with a key need
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(_key(secret)).encrypt(nonce, plain, about.encode())


def decrypt(secret: str, sealed: bytes, *, about: str) -> bytes | None:
    """Return the data, or None for another secret, other associated data, or a changed ciphertext."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(_key(secret)).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
    except (InvalidTag, ValueError):
        return None


def _key(secret: str) -> bytes:
    return hmac.new(b"retinue/sealed", secret.encode(), hashlib.sha256).digest()
