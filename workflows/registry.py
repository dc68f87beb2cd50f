"""The registry of capabilities: one execution per namespace, for ever."""

from __future__ import annotations

import asyncio

from temporalio import workflow

from retinue.capability import Manifest
from retinue.schemas.manifests import check_names
from retinue.temporal.failures import non_retryable
from retinue.temporal.registry import ANNOUNCE, CAPABILITIES, REGISTRY_TYPE, REPLACE, REVISION, is_older
from workflows.consent import lookups
from workflows.messages import RegistryState

_AT_ONCE = "announced_at_once"
_ANNOUNCEMENTS_PER_RUN = 500
"""Temporal refuses the 2,000th update of one run."""


@workflow.defn(name=REGISTRY_TYPE)
class RegistryWorkflow:
    """Holds the manifests. A new announcement of a capability replaces the old manifest as a whole.

    An older version does not replace a newer one, since it comes from an old worker during a rollout. To roll back, call
    `replace`.
    """

    @workflow.init
    def __init__(self, state: RegistryState | None = None) -> None:
        state = state or RegistryState()
        self._revision = state.revision
        self._manifests = dict(state.manifests)
        self._announcements = 0
        self._turns: dict[str, asyncio.Lock] = {}

    @workflow.run
    async def run(self, state: RegistryState | None = None) -> None:
        """Serve updates until the history has grown, then continue as new."""
        await workflow.wait_condition(self._has_grown)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            RegistryState(revision=self._revision, manifests=self._manifests), memo={REVISION: self._revision}
        )

    def _has_grown(self) -> bool:
        return self._announcements >= _ANNOUNCEMENTS_PER_RUN or workflow.info().is_continue_as_new_suggested()

    @workflow.update(name=ANNOUNCE)
    async def announce(self, manifest: Manifest) -> int:
        """Register or replace a capability; the same manifest again changes nothing. Returns the revision."""
        return await self._register(manifest, even_if_older=False)

    @workflow.update(name=REPLACE)
    async def replace(self, manifest: Manifest) -> int:
        """Register a capability even if a newer version of it is registered. Returns the revision."""
        return await self._register(manifest, even_if_older=True)

    async def _register(self, manifest: Manifest, *, even_if_older: bool) -> int:
        """Store a manifest at once; who announces and who reads it checks its schemas.

        Nothing is waited for here. An update that comes while an activity of an earlier one ends makes a history that may
        not replay (temporalio 1.35: a query can cost the worker a task of an update), and then the registry hangs after a
        restart.
        """
        self._announcements += 1
        if not workflow.patched(_AT_ONCE):
            return await self._register_checked(manifest, even_if_older=even_if_older)
        if self._is_new(manifest, even_if_older=even_if_older):
            self._hold(manifest)
        return self._revision

    async def _register_checked(self, manifest: Manifest, *, even_if_older: bool) -> int:
        """Do so in runs that began before that was known: one announcement of a capability at a time."""
        async with self._turns.setdefault(manifest.name, asyncio.Lock()):
            if self._is_new(manifest, even_if_older=even_if_older):
                if problem := await lookups.schema_problem(manifest):
                    raise non_retryable("InvalidManifest", problem)
                self._hold(manifest)
        return self._revision

    def _is_new(self, manifest: Manifest, *, even_if_older: bool) -> bool:
        held = self._manifests.get(manifest.name)
        return held != manifest and (even_if_older or not _is_newer(held, manifest))

    def _hold(self, manifest: Manifest) -> None:
        self._manifests[manifest.name] = manifest
        self._revision += 1
        workflow.upsert_memo({REVISION: self._revision})

    @announce.validator
    def _check(self, manifest: Manifest) -> None:
        self._check_names(manifest)

    @replace.validator
    def _check_replacement(self, manifest: Manifest) -> None:
        self._check_names(manifest)

    def _check_names(self, manifest: Manifest) -> None:
        if problem := check_names(manifest):
            raise non_retryable("InvalidManifest", problem)

    @workflow.query(name=REVISION)
    def revision(self) -> int:
        """Return how often a manifest changed; also serves as a health check."""
        return self._revision

    @workflow.query(name=CAPABILITIES)
    def capabilities(self) -> list[Manifest]:
        """Return all manifests, sorted by name."""
        return [self._manifests[name] for name in sorted(self._manifests)]


def _is_newer(held: Manifest | None, manifest: Manifest) -> bool:
    return held is not None and is_older(manifest.version, held.version)
