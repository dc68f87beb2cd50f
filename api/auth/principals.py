"""People at the front door: who somebody is, in which organisation, and what their roles let them do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from retinue.errors import NotAllowed
from retinue.provenance.credential import Credential, CredentialKind


class Permission(StrEnum):
    """What a route asks for. Every route names exactly one."""

    READ = "read"
    ASK = "ask"
    DECIDE = "decide"
    OPERATE = "operate"
    KEYS = "keys"
    DECODE = "decode"


class Role(StrEnum):
    """What somebody is in their organisation."""

    OWNER = "owner"
    APPROVER = "approver"
    OPERATOR = "operator"
    AUDITOR = "auditor"


ALLOWS: Mapping[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset({Permission.READ, Permission.ASK, Permission.DECIDE, Permission.KEYS}),
    Role.APPROVER: frozenset({Permission.READ, Permission.DECIDE, Permission.KEYS}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.OPERATE, Permission.KEYS, Permission.DECODE}),
    Role.AUDITOR: frozenset({Permission.READ, Permission.KEYS}),
}
"""An auditor reads every run of the organisation, everybody else their own and what they are asked to decide."""

HOME = ""
"""The organisation of an installation that has only one."""


@dataclass(frozen=True)
class Person:
    """Somebody whom the front door has recognised.

    Attributes:
        name: Unique within the organisation, as in `anna` or `anna@example.com`.
        roles: Of this person.
        tenant: The organisation; empty where there is only one.
        scopes: What an API key was limited to; None where nothing was.
        recognised_by: The kind of the credential, with the id and the name of an API key; None for the one person of
            an installation that tells nobody apart.
    """

    name: str
    roles: frozenset[Role]
    tenant: str = HOME
    scopes: frozenset[Permission] | None = None
    recognised_by: tuple[CredentialKind, str, str] | None = None

    def __post_init__(self) -> None:
        """Refuse a name that could be read as another's: whoever recognises people must write it otherwise.

        Raises:
            ValueError: The name or the organisation holds `:` or `*`, or there is no name.
        """
        if not self.name or {":", "*"} & {*self.name, *self.tenant}:
            raise ValueError("a person's name and organisation hold neither ':' nor '*', and the name is not empty")

    @property
    def owner(self) -> str:
        """Under this name runs, grants, budgets and schedules are kept: unique over all organisations."""
        return f"{self.tenant}:{self.name}" if self.tenant else self.name

    def may(self, permission: Permission) -> bool:
        """Whether their roles allow it and nothing narrows that."""
        allowed = any(permission in ALLOWS[role] for role in self.roles)
        return allowed and (self.scopes is None or permission in self.scopes)

    def check(self, permission: Permission) -> None:
        """Refuse what they may not do.

        Raises:
            NotAllowed: Their roles, or the key they use, do not allow it.
        """
        if not self.may(permission):
            raise NotAllowed(f"this needs the permission {str(permission)!r}")

    @property
    def credential(self) -> Credential | None:
        """What they were recognised by, for the runs that they start and talk to."""
        may_decide = self.may(Permission.DECIDE)
        if self.recognised_by is None:
            return None if may_decide else Credential(kind=CredentialKind.TOKEN, may_decide=False)
        kind, key_id, name = self.recognised_by
        known = {"id": key_id, "name": name} if key_id else {}
        return Credential(kind=kind, **known) if may_decide else Credential(kind=kind, **known, may_decide=False)

    def audits(self) -> bool:
        """Whether they read what others of their organisation asked for."""
        return Role.AUDITOR in self.roles and self.may(Permission.READ)


LOCAL = Person("local", frozenset(Role) - {Role.AUDITOR})
"""The one person of a single-user installation on loopback. They see what is theirs, as ever: there is nobody to audit."""
