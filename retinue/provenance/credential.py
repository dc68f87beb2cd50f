"""What somebody was recognised by, as far as workflows need to know: which key it was, and whether it may decide.

It holds no secret. Runs carry it with everything that a person says, so that what a key without the right to decide
says is never taken for the person's own words.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from retinue.text import safe


class CredentialKind(StrEnum):
    """How the front door recognised somebody."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105  # the name of a way, not a secret
    PROXY = "proxy"


class Credential(BaseModel):
    """A credential without its secret."""

    kind: CredentialKind
    id: str = Field("", max_length=60, description="of an API key")
    name: str = Field("", max_length=100, description="what its person called the API key")
    may_decide: bool = Field(True, description="whether it may approve actions")

    @property
    def label(self) -> str:
        """The credential in words, for people."""
        if self.kind is CredentialKind.KEY:
            return f"key {safe(self.name or self.id)!r}"
        return f"{self.kind} that may not decide"


def decides(credential: Credential | None) -> bool:
    """Whether what came with this credential is the person's own word. None is the one person of this machine."""
    return credential is None or credential.may_decide


def key_of(credential: Credential | None) -> str:
    """The id of an API key; empty for everything by which a person comes in person.

    What may not decide and is no key counts as one, so that no grant for what is asked in person covers it.
    """
    if credential is None:
        return ""
    return credential.id or ("" if credential.may_decide else str(credential.kind))
