"""Fair shares: under which key the server counts a run's work, so that nobody's backlog holds up everybody else's.

A server with `matching.enableFairness` hands out the tasks of a queue by turns of these keys; another ignores them.
Activities and child workflows inherit the key of their run.
"""

from __future__ import annotations

import hashlib

from temporalio.common import Priority

from retinue.tenancy import organisation

_LONGEST = 64
"""Bytes that the server takes."""


def fair_share(owner: str) -> Priority:
    """The share of an owner's organisation, or their own where there is only one."""
    name = organisation(owner) or owner
    if len(name.encode(errors="surrogatepass")) > _LONGEST:
        name = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]
    return Priority(fairness_key=name)
