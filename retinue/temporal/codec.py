"""The payload codec that encrypts runs. The format: docs/encryption.md.

With `RETINUE_ENCRYPTION_KEYS` or `RETINUE_ENCRYPTION_KEY_FILE` set, all payloads (arguments, results, signals, updates,
queries, memos, summaries, texts of failures) are encrypted with AES-256-GCM before they leave this process. All processes
of an installation need the same keys. Unencrypted payloads from before stay readable.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    EncodingPayloadConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from retinue.errors import Undecipherable
from retinue.temporal.blobs import INLINE_BYTES
from retinue.temporal.keyring import KEY_NAME, SCHEDULE_SUFFIX, Keyring, read_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENCODING = b"binary/encrypted"
REFUSED = b"binary/refused"
"""Encoding of a replacement for a refused payload. It never leaves a process."""
KEY_ID = "encryption-key-id"
BOUND_TO = "encryption-bound-to"
_NONCE_BYTES = 12
_LABEL = b"retinue-payload-1"
_SEALED_TEXT = "encrypted:"
_PLAIN = "a part of this run is not encrypted, and RETINUE_ENCRYPTION_REQUIRED refuses it"
_ELSEWHERE = "a part of this run was encrypted for another run, so somebody has put it here"
_LONGEST_REASON = 200
_FILED = INLINE_BYTES - 4096
"""Bytes above which a payload may become a file. Its nonce then comes from its content, so that a large view that is
queried a hundred times is one file."""
_HOW = "set RETINUE_ENCRYPTION_KEYS or RETINUE_ENCRYPTION_KEY_FILE as for the other processes"


class EncryptionSettings(BaseSettings):
    """`RETINUE_ENCRYPTION_*`: the keys, and whether to refuse unencrypted payloads."""

    model_config = SettingsConfigDict(env_prefix="RETINUE_ENCRYPTION_", env_ignore_empty=True)

    keys: SecretStr | None = Field(None, description="`id:key`, by comma; the first one writes, the others only read")
    key_file: Path | None = Field(None, description="a file with one `id:key` a line, in place of `keys`")
    required: bool = Field(False, description="refuse what is not encrypted")

    def codec(self) -> PayloadEncryption:
        """Return the configured codec; without keys one that encrypts nothing and refuses encrypted payloads.

        Raises:
            ValueError: The settings contradict each other, the file cannot be read, or a key is malformed. The message
                holds no part of a key.
        """
        keyring = read_keys(self.keys, self.key_file, kind="encryption")
        if keyring is None and self.required:
            raise ValueError("RETINUE_ENCRYPTION_REQUIRED needs keys; " + _HOW)
        if keyring is not None and importlib.util.find_spec("cryptography") is None:
            raise ValueError("encryption needs the package `cryptography`, which is not installed here")
        return PayloadEncryption(keyring, required=self.required)


class _Cipher:
    """AES-256-GCM with one key. Its package is imported here, since only encryption needs it."""

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.aes: AESGCM = AESGCM(secret)
        self._nonces = hmac.digest(secret, b"retinue-nonce-1", "sha256")

    def nonce_of(self, content: bytes, bound: bytes) -> bytes:
        """Return the nonce that belongs to a large content: the same for the same content, like random for others."""
        return hmac.digest(self._nonces, bound + content, "sha256")[:_NONCE_BYTES]


_cipher = functools.lru_cache(maxsize=64)(_Cipher)


@dataclass(frozen=True)
class PayloadEncryption(PayloadCodec, WithSerializationContext):
    """Encrypts payloads, and binds each to its workflow, so that it cannot be used in another one.

    Attributes:
        keyring: None without encryption: then nothing is encrypted, and encrypted payloads are refused.
        required: Whether unencrypted payloads are refused.
        workflow_id: Of the current workflow, if Temporal's SDK names it.
    """

    keyring: Keyring | None = None
    required: bool = False
    workflow_id: str | None = None

    def with_context(self, context: SerializationContext) -> PayloadEncryption:
        """Return this codec for one workflow."""
        if self.keyring is None or not isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
            return self
        return self if context.workflow_id == self.workflow_id else replace(self, workflow_id=context.workflow_id)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt."""
        return (
            list(payloads)
            if self.keyring is None
            else [_sealed(payload, self.keyring, self.workflow_id) for payload in payloads]
        )

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt. Refuses payloads of another workflow, and unencrypted ones if encryption is required.

        Raises:
            Undecipherable: The key is missing, or the content was changed or cut.
        """
        return [self._decoded(payload) for payload in payloads]

    def _decoded(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return _refused(_PLAIN) if self.required else payload
        opened = _opened(payload, self.keyring)
        bound = payload.metadata.get(BOUND_TO)
        if self.workflow_id and bound and not _belongs(self.workflow_id, bound.decode("utf-8", "replace")):
            return _refused(_ELSEWHERE)
        return opened


def _refused(why: str) -> Payload:
    """Return a replacement for a refused payload, which raises the reason when it is read.

    Raising in the codec would fail the whole workflow task, so anyone who can signal a workflow could block it for good.
    Workflows drop a signal and reject an update that they cannot read, and continue.
    """
    return Payload(metadata={"encoding": REFUSED}, data=why.encode())


def _belongs(workflow_id: str, bound: str) -> bool:
    """Whether a payload was written for this workflow, or for the schedule that started it."""
    ahead, rest = workflow_id[: len(bound)], workflow_id[len(bound) :]
    return ahead == bound and (not rest or SCHEDULE_SUFFIX.fullmatch(rest) is not None)


def _sealed(payload: Payload, keyring: Keyring, workflow_id: str | None) -> Payload:
    cipher = _cipher(keyring.keys[keyring.primary])
    sealed = Payload(metadata={"encoding": ENCODING, KEY_ID: keyring.primary.encode()})
    if workflow_id:
        sealed.metadata[BOUND_TO] = workflow_id.encode()
    content, bound = payload.SerializeToString(deterministic=True), _associated(sealed)
    nonce = os.urandom(_NONCE_BYTES) if len(content) < _FILED else cipher.nonce_of(content, bound)
    sealed.data = nonce + cipher.aes.encrypt(nonce, content, bound)
    return sealed


def _opened(payload: Payload, keyring: Keyring | None) -> Payload:
    name = payload.metadata.get(KEY_ID, b"").decode("ascii", "replace")
    shown = repr(name) if KEY_NAME.fullmatch(name) else "of no valid name"
    if keyring is None:
        raise Undecipherable(
            f"a part of this run is encrypted with the key {shown}, and encryption is off here", hint=_HOW
        )
    if name not in keyring.keys:
        known = ", ".join(keyring.keys)
        raise Undecipherable(
            f"a part of this run is encrypted with the key {shown}; this process has {known}", hint=_HOW
        )
    # imported here, since only encryption needs it
    from cryptography.exceptions import InvalidTag

    nonce, content = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
    try:
        return Payload.FromString(_cipher(keyring.keys[name]).aes.decrypt(nonce, content, _associated(payload)))
    except (InvalidTag, ValueError, DecodeError):
        raise Undecipherable(
            f"a part of this run cannot be decrypted with the key {shown}: it was changed or cut, or the key differs",
            hint="compare this process's keys with those of the others",
        ) from None


def _associated(payload: Payload) -> bytes:
    """Return the associated data; lengths separate its parts."""
    parts = (_LABEL, payload.metadata.get(KEY_ID, b""), payload.metadata.get(BOUND_TO, b""))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


async def sealed_text(converter: DataConverter, text: str) -> str:
    """Return a text, encrypted if encryption is on, for a field that Temporal stores as text, such as a schedule's note."""
    codec = converter.payload_codec
    if not isinstance(codec, PayloadEncryption) or codec.keyring is None:
        return text
    [payload] = await converter.encode([text])
    return _SEALED_TEXT + base64.b64encode(payload.SerializeToString()).decode()


async def opened_text(converter: DataConverter, text: str | None) -> str | None:
    """Return the argument of `sealed_text`; any other text unchanged.

    Raises:
        Undecipherable: It is encrypted, and cannot be read here.
    """
    if text is None or not text.startswith(_SEALED_TEXT):
        return text
    try:
        payload = Payload.FromString(base64.b64decode(text.removeprefix(_SEALED_TEXT), validate=True))
    except (binascii.Error, DecodeError):
        return text
    [opened] = await converter.decode([payload], [str])
    return str(opened)


class RefusedPayloads(EncodingPayloadConverter):
    """Raises the reason when a refused payload is read."""

    @property
    def encoding(self) -> str:
        """Encoding that it reads."""
        return REFUSED.decode()

    def to_payload(self, value: object) -> Payload | None:
        """Return None: it writes nothing."""
        del value
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> object:
        """Refuse.

        Raises:
            Undecipherable: Always.
        """
        del type_hint
        raise Undecipherable(payload.data.decode("utf-8", "replace")[:_LONGEST_REASON])
