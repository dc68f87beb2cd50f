"""The Temporal header `retinue-account-pass`: by it a worker may use its person's account for the step that it runs.

The workflow worker signs a pass for each step that is told whose it is (`retinue-person`). Only workflow workers and the
accounts service have the key; a capability's worker forwards the pass with its own key. A pass alone opens nothing, and it
expires with its step. A worker in another language forwards the header's text, a JSON string. Why: docs/decisions/0034.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from retinue.errors import NotAuthenticated
from retinue.temporal.failures import non_retryable
from retinue.temporal.keyring import Keyring, read_keys

HEADER = "retinue-account-pass"
SLACK = timedelta(minutes=6)
"""How long a pass outlives its step: the clock of the accounts service may be five minutes ahead."""
_MOST_TEXT = 4096
_current: ContextVar[str] = ContextVar("step_pass", default="")


class StepPass(BaseModel):
    """For which step a worker may use an account."""

    model_config = ConfigDict(extra="forbid", strict=True)

    organisation: str = Field(description="empty without organisations")
    person: str = Field(min_length=1, description="the owner of the run; in an organisation as `acme:anna`")
    capability: str = Field(min_length=1)
    workflow_id: str = Field(description="waits for the account if it must be connected again")
    activity_id: str
    account: str | None = Field(
        None, description="name or id of the chosen account; 'own': none; None: any of the person's"
    )
    expires: int = Field(description="Unix seconds")


class PassSettings(BaseSettings):
    """`RETINUE_ACCOUNTS_PASS_KEYS`, `RETINUE_ACCOUNTS_PASS_KEY_FILE`, read by workflow workers."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retinue_accounts_pass_keys: SecretStr | None = Field(None, description="`id:key`, by comma; the first one signs")
    retinue_accounts_pass_key_file: Path | None = Field(None, description="a file with one `id:key` a line")

    def keyring(self) -> Keyring | None:
        """Return the keys; None if no passes are signed.

        Raises:
            ValueError: They are malformed or cannot be read. The message contains no part of a key.
        """
        return read_keys(self.retinue_accounts_pass_keys, self.retinue_accounts_pass_key_file, kind="accounts_pass")


def sign(step: StepPass, keyring: Keyring) -> str:
    """Return the pass as text: key id, content, MAC."""
    content = base64.urlsafe_b64encode(step.model_dump_json().encode()).decode()
    signed = f"{keyring.primary}.{content}"
    return f"{signed}.{keyring.mac(keyring.primary, signed.encode())}"


def verify(text: str, keyring: Keyring, *, now: datetime) -> StepPass:
    """Return a pass.

    Raises:
        NotAuthenticated: It was not signed with one of these keys, was changed, or has expired.
    """
    signed, _, mac = text.rpartition(".")
    name, _, content = signed.rpartition(".")
    made = keyring.mac(name, signed.encode()) if len(text) <= _MOST_TEXT and text.isascii() else None
    if made is None or not hmac.compare_digest(made, mac):
        raise NotAuthenticated("the step's pass is not valid")
    try:
        step = StepPass.model_validate_json(base64.urlsafe_b64decode(content))
    except (ValidationError, binascii.Error, ValueError):
        raise NotAuthenticated("the step's pass is not valid") from None
    if now.timestamp() > step.expires:
        raise NotAuthenticated("the step's pass has expired")
    return step


def current_pass() -> str:
    """Return the pass of the running activity; empty without one."""
    return _current.get()


@contextmanager
def with_pass(text: str) -> Iterator[None]:
    """Run an activity with this pass."""
    token = _current.set(text)
    try:
        yield
    finally:
        _current.reset(token)


def header(text: str) -> dict[str, Payload]:
    """Return the header with a pass."""
    return {HEADER: PayloadConverter.default.to_payload(text)}


def incoming(headers: Mapping[str, Payload]) -> str:
    """Return the pass in the header of an activity; empty without one.

    Raises:
        ApplicationError: It cannot be read, so nothing is done.
    """
    found = headers.get(HEADER)
    if found is None:
        return ""
    try:
        text: Any = PayloadConverter.default.from_payload(found, str) if len(found.data) <= _MOST_TEXT else None
    except (ValueError, TypeError, RuntimeError, KeyError):
        text = None
    if not isinstance(text, str):
        raise non_retryable("InvalidArguments", "the pass header is unreadable")
    return text
