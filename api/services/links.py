"""Links of runs, schedules and triggers: in this API and in the Temporal Web UI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from api.services.schemas import Links

LinksOf = Callable[[str], Links]
"""Makes the links of a run from its id."""


@dataclass(frozen=True)
class LinkMaker:
    """Makes links.

    Args:
        web_ui: The address of the Temporal Web UI.
        namespace: Temporal's, in which the runs are.
    """

    web_ui: str
    namespace: str

    def run(self, assistant_id: str) -> Links:
        """Return the links of a run."""
        return Links(
            self=f"/v1/assistants/{assistant_id}",
            events=f"/v1/assistants/{assistant_id}/events",
            temporal_ui=self._in_the_web_ui("workflows", assistant_id),
        )

    def schedule(self, schedule_id: str) -> Links:
        """Return the links of a schedule."""
        return Links(self=f"/v1/schedules/{schedule_id}", temporal_ui=self._in_the_web_ui("schedules", schedule_id))

    def trigger(self, trigger_id: str, watch_id: str) -> Links:
        """Return the links of a trigger; in the Web UI, of the workflow that holds it."""
        return Links(
            self=f"/v1/triggers/{trigger_id}", temporal_ui=self._in_the_web_ui("workflows", quote(watch_id, safe=""))
        )

    def _in_the_web_ui(self, kind: str, name: str) -> str:
        return f"{self.web_ui}/namespaces/{self.namespace}/{kind}/{name}"
