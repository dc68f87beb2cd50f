"""The credential of a caller, as far as workflows need it: which key, and whether it may decide.

It contains no secret. Runs store it with each message, so that messages from a key that may not decide never count as the
person's own words.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from retinue.text import safe


class CredentialKind(StrEnum):
    """How the API authenticated a caller."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105  # the name of a way, not a secret
    PROXY = "proxy"


class Credential(BaseModel):
    """A credential without its secret."""

    kind: CredentialKind
    id: str = Field("", max_length=60, description="of an API key")
    name: str = Field("", max_length=100, description="name of the API key")
    may_decide: bool = Field(True, description="whether it may approve actions")
    may_remember: bool = Field(True, description="whether it may read what the memory capability keeps of the person")

    @property
    def label(self) -> str:
        """Return the credential in words."""
        if self.kind is CredentialKind.KEY:
            return f"key {safe(self.name or self.id)!r}"
        return f"{self.kind} that may not decide"


def decides(credential: Credential | None) -> bool:
    """Whether messages with this credential count as the person's own. None is the only person of this machine."""
    return credential is None or credential.may_decide


def key_of(credential: Credential | None) -> str:
    """Return the id of an API key; empty for a person who acts in person.

    Another credential that may not decide counts as a key, so that no grant for actions in person covers it.
    """
    if credential is None:
        return ""
    return credential.id or ("" if credential.may_decide else str(credential.kind))
