"""Organisations in names: `acme:anna` is Anna of acme; a plain `anna` is Anna of an installation without organisations.

`Person.owner` in the API builds such names; workflows and workers read them with these functions. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

HOME = ""
"""The organisation of people without one."""
ANY_TENANT = "*"
"""Means every organisation; no organisation can have this name."""
ANYBODY = "*"
"""In a policy: anybody of the owner's organisation."""
_SEPARATOR = ":"
_LONGEST_WORDS = 20


def organisation(owner: str) -> str:
    """Return the organisation in this name; empty if it has none."""
    tenant, separator, _ = owner.partition(_SEPARATOR)
    return tenant if separator else ""


def colleague(owner: str, name: str) -> str:
    """Return whom a policy means by a name in a run of `owner`: always a person of the same organisation.

    All organisations share policies. In a run of acme, `other:ben` matches no person.
    """
    tenant = organisation(owner)
    if not tenant or name == ANYBODY or name.startswith(f"{tenant}{_SEPARATOR}"):
        return name
    return f"{tenant}{_SEPARATOR}{name}"


def may_decide(name: str, named: Collection[str], *, owner: str) -> bool:
    """Whether a person is one of those named, or anybody may decide, and belongs to the owner's organisation."""
    return organisation(name) == organisation(owner) and (name in named or ANYBODY in named)


def anybody(owner: str) -> str:
    """Return the name under which anybody of the owner's organisation finds a run; no person can have it."""
    tenant = organisation(owner)
    return f"{tenant}{_SEPARATOR}{ANYBODY}" if tenant else ANYBODY


def deciders(named: Collection[str], *, owner: str) -> set[str]:
    """Return the names under which deciders find runs, without names outside the organisation."""
    ours = organisation(owner)
    return {
        anybody(owner) if name == ANYBODY else name for name in named if name == ANYBODY or organisation(name) == ours
    }


def folder_of(name: str) -> str:
    """Return the folder name of an organisation's data: lower-case letters, digits and `-`, at most 57 characters.

    It is unique, even on a file system that ignores case, and safe as a path: a digest of the exact name distinguishes
    organisations, and the words before it are only for people.
    """
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_WORDS]
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"org-{words}-{digest}" if words else f"org-{digest}"


def schema_of(name: str, capability: str, *, around: str = "") -> str:
    """Return the PostgreSQL schema of an organisation's data; capabilities and installations may share a database.

    Args:
        name: The organisation.
        capability: The owner of the data.
        around: The schema of the capability's data of people without an organisation.
    """
    digest = hashlib.sha256(f"{around}/{capability}/{name}".encode(errors="surrogatepass")).hexdigest()[:32]
    return f"org-{capability[:_LONGEST_WORDS]}-{digest}"


def variable_of(capability: str) -> str:
    """Return the variable that names the organisation of a capability's external account: `MY_FILES_ORGANISATION`."""
    return f"{capability.replace('-', '_').upper()}_ORGANISATION"
