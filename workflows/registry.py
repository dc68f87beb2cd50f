"""The registry: which capabilities there are. One execution per namespace, for ever."""

from __future__ import annotations

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from retinue.capability import Manifest, ToolSpec
from retinue.registry import ANNOUNCE, CAPABILITIES, REGISTRY_TYPE, REPLACE, REVISION, is_older
from retinue.temporal import WORKFLOW_QUEUE
from workflows.messages import RegistryState

_ANNOUNCEMENTS_PER_RUN = 500
"""Temporal refuses the 2,000th update of one run."""


@workflow.defn(name=REGISTRY_TYPE)
class RegistryWorkflow:
    """Holds the manifests. A new announcement of a capability replaces the old one at once and as a whole.

    Only an older version does not replace a newer one: it comes from a worker that was started late while its capability
    is being rolled forward. Who means to go back calls `replace`.
    """

    @workflow.init
    def __init__(self, state: RegistryState | None = None) -> None:
        state = state or RegistryState()
        self._revision = state.revision
        self._manifests = dict(state.manifests)
        self._announcements = 0

    @workflow.run
    async def run(self, state: RegistryState | None = None) -> None:
        """Answer until the history has grown, then go on in a fresh run."""
        await workflow.wait_condition(self._has_grown)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            RegistryState(revision=self._revision, manifests=self._manifests), memo={REVISION: self._revision}
        )

    def _has_grown(self) -> bool:
        return self._announcements >= _ANNOUNCEMENTS_PER_RUN or workflow.info().is_continue_as_new_suggested()

    @workflow.update(name=ANNOUNCE)
    def announce(self, manifest: Manifest) -> int:
        """Register or replace a capability; the same manifest again changes nothing. Returns the revision."""
        self._announcements += 1
        held = self._manifests.get(manifest.name)
        if held != manifest and not _stays(held, manifest):
            self._hold(manifest)
        return self._revision

    @workflow.update(name=REPLACE)
    def replace(self, manifest: Manifest) -> int:
        """Register a capability though a newer version of it is held. Returns the revision."""
        self._announcements += 1
        if self._manifests.get(manifest.name) != manifest:
            self._hold(manifest)
        return self._revision

    def _hold(self, manifest: Manifest) -> None:
        self._manifests[manifest.name] = manifest
        self._revision += 1
        workflow.upsert_memo({REVISION: self._revision})

    @announce.validator
    def _check(self, manifest: Manifest) -> None:
        self._check_manifest(manifest)

    @replace.validator
    def _check_replacement(self, manifest: Manifest) -> None:
        self._check_manifest(manifest)

    def _check_manifest(self, manifest: Manifest) -> None:
        if self._manifests.get(manifest.name) == manifest:
            return  # a worker that starts again; checking schemas is the dear part of an announcement
        names = [spec.name for spec in manifest.tools]
        if strangers := [name for name in names if name.partition(".")[0] != manifest.name]:
            raise _refused(f"tools of {manifest.name} must be named {manifest.name}.verb_object: {strangers}")
        if len(set(names)) != len(names):
            raise _refused(f"{manifest.name} announces a tool twice")
        for spec in manifest.tools:
            _check_schemas(spec)
        if manifest.task_queue == WORKFLOW_QUEUE:
            raise _refused(f"the queue {WORKFLOW_QUEUE!r} belongs to the workflows; poll one of your own")

    @workflow.query(name=CAPABILITIES)
    def capabilities(self) -> list[Manifest]:
        """All manifests, by name."""
        return [self._manifests[name] for name in sorted(self._manifests)]


def _stays(held: Manifest | None, manifest: Manifest) -> bool:
    """Whether what is held is newer. In registries from before this rule, an older version had replaced it."""
    return held is not None and is_older(manifest.version, held.version) and workflow.patched("newest-version-stays")


def _check_schemas(spec: ToolSpec) -> None:
    """Refuse here what would fail in every plan that uses the tool."""
    try:
        Draft202012Validator.check_schema(spec.args_schema)
        Draft202012Validator.check_schema(spec.result_schema)
    except SchemaError as error:
        raise _refused(f"a schema of {spec.name} is no JSON schema (draft 2020-12): {error.message[:200]}") from None


def _refused(message: str) -> ApplicationError:
    return ApplicationError(message, type="InvalidManifest", non_retryable=True)
