"""Fairness keys, so that one owner's backlog does not delay others.

A server with `matching.enableFairness` dispatches the tasks of a queue in turn by these keys; others ignore them.
Activities and child workflows inherit the key of their run.
"""

from __future__ import annotations

import hashlib

from temporalio.common import Priority

from retinue.tenancy import organisation

_LONGEST = 64
"""The most bytes that the server accepts."""


def fair_share(owner: str) -> Priority:
    """Return the fairness key of an owner: their organisation, or the owner if they have none."""
    name = organisation(owner) or owner
    if len(name.encode(errors="surrogatepass")) > _LONGEST:
        name = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]
    return Priority(fairness_key=name)
