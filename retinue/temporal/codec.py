"""Encryption of what runs say: a payload codec. The format: docs/encryption.md.

With `RETINUE_ENCRYPTION_KEYS` or `RETINUE_ENCRYPTION_KEY_FILE` set, everything that crosses Temporal as a payload
(arguments, results, signals, updates, queries, memos, summaries, texts of failures) is sealed with AES-256-GCM before it
leaves this process. All processes of an installation need the same keys. What was written before stays readable.
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
"""Stands in for a payload that the codec has refused. It never leaves a process."""
KEY_ID = "encryption-key-id"
BOUND_TO = "encryption-bound-to"
_NONCE_BYTES = 12
_LABEL = b"retinue-payload-1"
_SEALED_TEXT = "encrypted:"
_PLAIN = "a part of this run is not encrypted, and RETINUE_ENCRYPTION_REQUIRED refuses it"
_ELSEWHERE = "a part of this run was encrypted for another run, so somebody has put it here"
_LONGEST_REASON = 200
_FILED = INLINE_BYTES - 4096
"""Bytes from which on a payload may end up as a file. Its nonce then comes from its content, so that a large view that is
asked for a hundred times is one file and not a hundred."""
_HOW = "set RETINUE_ENCRYPTION_KEYS or RETINUE_ENCRYPTION_KEY_FILE as for the other processes"


class EncryptionSettings(BaseSettings):
    """`RETINUE_ENCRYPTION_*`: the keys, and whether what is not encrypted is refused."""

    model_config = SettingsConfigDict(env_prefix="RETINUE_ENCRYPTION_", env_ignore_empty=True)

    keys: SecretStr | None = Field(None, description="`id:key`, by comma; the first one writes, the others only read")
    key_file: Path | None = Field(None, description="a file with one `id:key` a line, in place of `keys`")
    required: bool = Field(False, description="refuse what is not encrypted")

    def codec(self) -> PayloadEncryption:
        """The codec that these settings ask for; without keys one that encrypts nothing and says what it cannot read.

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
    """AES-256-GCM under one key. Its package is imported here, since only who encrypts pays for it."""

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.aes: AESGCM = AESGCM(secret)
        self._nonces = hmac.digest(secret, b"retinue-nonce-1", "sha256")

    def nonce_of(self, content: bytes, bound: bytes) -> bytes:
        """The nonce that belongs to a large content: the same for the same content, like random for others."""
        return hmac.digest(self._nonces, bound + content, "sha256")[:_NONCE_BYTES]


_cipher = functools.lru_cache(maxsize=64)(_Cipher)


@dataclass(frozen=True)
class PayloadEncryption(PayloadCodec, WithSerializationContext):
    """Encrypts payloads, and binds each to the workflow that it belongs to, so that it is of no use in another one.

    Attributes:
        keyring: None where encryption is off: then nothing is encrypted, and what is encrypted is refused in words.
        required: What is not encrypted is refused.
        workflow_id: Of the workflow at hand, where Temporal's SDK says so.
    """

    keyring: Keyring | None = None
    required: bool = False
    workflow_id: str | None = None

    def with_context(self, context: SerializationContext) -> PayloadEncryption:
        """This codec for one workflow."""
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
        """Decrypt; what is not encrypted passes, unless that is required. What belongs to another workflow is refused.

        Raises:
            Undecipherable: The key is not here, or the content was changed or cut.
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
    """In place of a payload that nobody may read. It says why, once somebody reads it.

    Raising in the codec would fail the whole workflow task, so whoever sends signals to Temporal could stop any run for
    good. Workflows drop a signal and reject an update that they cannot read, and go on.
    """
    return Payload(metadata={"encoding": REFUSED}, data=why.encode())


def _belongs(workflow_id: str, bound: str) -> bool:
    """Whether it is the workflow that a payload was written for, or one that the schedule it was written for started."""
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
    # here, since without keys nobody gets this far
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
    """What the seal covers besides the content. Lengths keep the parts apart."""
    parts = (_LABEL, payload.metadata.get(KEY_ID, b""), payload.metadata.get(BOUND_TO, b""))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


async def sealed_text(converter: DataConverter, text: str) -> str:
    """A text for a place that Temporal keeps as plain text, such as the note of a schedule; as it is where nothing is encrypted."""
    codec = converter.payload_codec
    if not isinstance(codec, PayloadEncryption) or codec.keyring is None:
        return text
    [payload] = await converter.encode([text])
    return _SEALED_TEXT + base64.b64encode(payload.SerializeToString()).decode()


async def opened_text(converter: DataConverter, text: str | None) -> str | None:
    """What `sealed_text` was given; any other text as it is.

    Raises:
        Undecipherable: It was sealed, and cannot be read here.
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
    """Says why a payload is not read that the codec has refused."""

    @property
    def encoding(self) -> str:
        """Of what it reads."""
        return REFUSED.decode()

    def to_payload(self, value: object) -> Payload | None:
        """Writes nothing."""
        del value
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> object:
        """Refuse.

        Raises:
            Undecipherable: Always.
        """
        del type_hint
        raise Undecipherable(payload.data.decode("utf-8", "replace")[:_LONGEST_REASON])
