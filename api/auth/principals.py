"""People: name, organisation, roles and their permissions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from retinue.errors import NotAllowed
from retinue.provenance.credential import Credential, CredentialKind
from retinue.settings import LOCAL_PERSON


class Permission(StrEnum):
    """A permission. Every route requires exactly one."""

    READ = "read"
    ASK = "ask"
    DECIDE = "decide"
    OPERATE = "operate"
    KEYS = "keys"
    DECODE = "decode"
    MEMORY = "memory"


class Role(StrEnum):
    """A role in an organisation."""

    OWNER = "owner"
    APPROVER = "approver"
    OPERATOR = "operator"
    AUDITOR = "auditor"


ALLOWS: Mapping[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset({Permission.READ, Permission.ASK, Permission.DECIDE, Permission.KEYS, Permission.MEMORY}),
    Role.APPROVER: frozenset({Permission.READ, Permission.DECIDE, Permission.KEYS}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.OPERATE, Permission.KEYS, Permission.DECODE}),
    Role.AUDITOR: frozenset({Permission.READ, Permission.KEYS}),
}
"""Permissions by role. An auditor reads every run of the organisation; others read their own and those they decide."""

HOME = ""
"""The name of the only organisation of an installation."""


@dataclass(frozen=True)
class Person:
    """An authenticated person.

    Attributes:
        name: Unique within the organisation, as in `anna` or `anna@example.com`.
        roles: The person's roles.
        tenant: The organisation; empty where there is only one.
        scopes: The permissions of an API key; None if it has all of its owner's.
        recognised_by: The kind of the credential, with the id and the name of an API key; None in a single-user
            installation.
    """

    name: str
    roles: frozenset[Role]
    tenant: str = HOME
    scopes: frozenset[Permission] | None = None
    recognised_by: tuple[CredentialKind, str, str] | None = None

    def __post_init__(self) -> None:
        """Refuse ambiguous names: the authenticator must encode them.

        Raises:
            ValueError: The name or the organisation contains `:` or `*`, or the name is empty.
        """
        if not self.name or {":", "*"} & {*self.name, *self.tenant}:
            raise ValueError(
                "a person's name and organisation must not contain ':' or '*', and the name must not be empty"
            )

    @property
    def owner(self) -> str:
        """Return the owner name of runs, grants, budgets and schedules: unique over all organisations."""
        return f"{self.tenant}:{self.name}" if self.tenant else self.name

    def may(self, permission: Permission) -> bool:
        """Return whether roles and scopes include the permission."""
        allowed = any(permission in ALLOWS[role] for role in self.roles)
        return allowed and (self.scopes is None or permission in self.scopes)

    def check(self, permission: Permission) -> None:
        """Check a permission.

        Raises:
            NotAllowed: The roles, or the key in use, do not include it.
        """
        if not self.may(permission):
            raise NotAllowed(f"this needs the permission {str(permission)!r}")

    @property
    def credential(self) -> Credential | None:
        """Return the credential, for the runs that they start and send messages to."""
        lacks = self._lacks()
        if self.recognised_by is None:
            return Credential(kind=CredentialKind.TOKEN, **lacks) if lacks else None
        kind, key_id, name = self.recognised_by
        known = {"id": key_id, "name": name} if key_id else {}
        return Credential(kind=kind, **known, **lacks)

    def _lacks(self) -> dict[str, bool]:
        """Return what a run must know that the credential may not do. Who may decide may read everything in a run."""
        if self.may(Permission.DECIDE):
            return {}
        return {"may_decide": False} if self.may(Permission.MEMORY) else {"may_decide": False, "may_remember": False}

    def audits(self) -> bool:
        """Return whether they may read all runs of their organisation."""
        return Role.AUDITOR in self.roles and self.may(Permission.READ)


LOCAL = Person(LOCAL_PERSON, frozenset(Role) - {Role.AUDITOR})
"""Return the user of a single-user installation on loopback. They see only their own runs: nothing to audit."""
