"""Organisations in names: `acme:anna` is Anna of acme, a plain `anna` is Anna of an installation that has only one.

`Person.owner` at the front door makes such names; here is what workflows and workers read out of them. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

HOME = ""
"""The organisation of people who have none, where there is only one."""
ANY_TENANT = "*"
"""In place of an organisation: each. None can be called so."""
ANYBODY = "*"
"""In a policy: anybody of the organisation whose run it is, and nobody else."""
_SEPARATOR = ":"
_LONGEST_WORDS = 20


def organisation(owner: str) -> str:
    """The organisation of whoever has this name; empty where there is only one."""
    tenant, separator, _ = owner.partition(_SEPARATOR)
    return tenant if separator else ""


def colleague(owner: str, name: str) -> str:
    """Whom a policy means by a name in a run of `owner`: somebody of the same organisation, always.

    Policies are shared by all organisations. One that names `other:ben` means nobody in a run of acme.
    """
    tenant = organisation(owner)
    if not tenant or name == ANYBODY or name.startswith(f"{tenant}{_SEPARATOR}"):
        return name
    return f"{tenant}{_SEPARATOR}{name}"


def may_decide(name: str, named: Collection[str], *, owner: str) -> bool:
    """Whether somebody is one of those named, or anybody is, and they belong to the organisation of the run's owner."""
    return organisation(name) == organisation(owner) and (name in named or ANYBODY in named)


def anybody(owner: str) -> str:
    """Under this name a run is found by anybody of its owner's organisation. No person can be called so."""
    tenant = organisation(owner)
    return f"{tenant}{_SEPARATOR}{ANYBODY}" if tenant else ANYBODY


def deciders(named: Collection[str], *, owner: str) -> set[str]:
    """The names under which those who may decide look for runs; those whom nobody of the organisation has are left out."""
    ours = organisation(owner)
    return {
        anybody(owner) if name == ANYBODY else name for name in named if name == ANYBODY or organisation(name) == ours
    }


def folder_of(name: str) -> str:
    """A name for what an organisation's data lie in: lower-case letters, digits and `-`, at most 57 characters.

    Two organisations never share one, not even on a file system that ignores case, and it never leads elsewhere: what
    tells them apart is a digest of the exact name, and the words before it are only for people who look.
    """
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_WORDS]
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"org-{words}-{digest}" if words else f"org-{digest}"


def schema_of(name: str, capability: str, *, around: str = "") -> str:
    """The same for a schema of PostgreSQL. Several capabilities, and installations, may share a database.

    Args:
        name: The organisation.
        capability: Whose data of it these are.
        around: The schema in which the capability keeps the data of people without an organisation.
    """
    digest = hashlib.sha256(f"{around}/{capability}/{name}".encode(errors="surrogatepass")).hexdigest()[:32]
    return f"org-{capability[:_LONGEST_WORDS]}-{digest}"


def variable_of(capability: str) -> str:
    """The variable that says to which organisation a capability's account elsewhere belongs: `MY_FILES_ORGANISATION`."""
    return f"{capability.replace('-', '_').upper()}_ORGANISATION"
