"""Cache of views: a run without new events is not queried again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from temporalio.client import WorkflowExecutionDescription

from api.services.view_version import RunVersion, run_version
from workflows.messages import AssistantView

_MOST = 64
"""Number of cached views. One may have several hundred kilobytes."""
_MOST_OWNERS = 10_000


class KnownViews:
    """The views that were read last. Callers check access before they use it."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[RunVersion, AssistantView, bool]] = OrderedDict()
        self._owners: OrderedDict[str, str] = OrderedDict()

    async def of(
        self,
        description: WorkflowExecutionDescription,
        read: Callable[[WorkflowExecutionDescription], Awaitable[tuple[AssistantView, bool]]],
        *,
        with_attempts: bool = True,
    ) -> AssistantView:
        """Return the run's view, cached or read.

        Args:
            description: The run's current description; later changes appear in the next one.
            read: Queries the run; returns the view and whether the run itself returned it, so that it may be cached.
            with_attempts: Include the numbers of attempts, which need the run's history.
        """
        found = self._known.get(description.id)
        if found is not None and found[0] == run_version(description) and (found[2] or not with_attempts):
            self._known.move_to_end(description.id)
            return found[1]
        view, whole = await read(description)
        if whole:
            self._known[description.id] = run_version(description), view, with_attempts
            self._known.move_to_end(description.id)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return view

    def last(self, description: WorkflowExecutionDescription) -> AssistantView | None:
        """Return the last view of the same execution, possibly stale, for when no worker answers."""
        found = self._known.get(description.id)
        return found[1] if found is not None and found[0][0] == description.run_id else None

    def note_owner(self, assistant_id: str, owner: str) -> None:
        """Cache the owner of a run, which never changes."""
        self._owners[assistant_id] = owner
        if len(self._owners) > _MOST_OWNERS:
            self._owners.popitem(last=False)

    def owner(self, assistant_id: str) -> str | None:
        """Return whose a run is; None where that was not asked before."""
        return self._owners.get(assistant_id)
