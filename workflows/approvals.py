"""Approvals: actions that wait for a person, each bound to its id and to the exact arguments that were shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue
from temporalio.exceptions import ApplicationError

from retinue.plan import BoundStep, check_args, references
from retinue.text import safe
from workflows.messages import ApprovalStatus, ApprovalView, Decide, DecisionKind, Origin


def args_hash(args: Mapping[str, JsonValue]) -> str:
    """SHA-256 (hex) of the arguments as canonical JSON: keys sorted, no blanks."""
    text = json.dumps(args, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def preview(title: str, args: Mapping[str, JsonValue], about: Mapping[str, str] | None = None) -> str:
    """What a person reads before deciding: the action and all of its true arguments, nothing a model phrased.

    Args:
        title: The tool's title.
        args: The arguments that will run.
        about: By argument, what the thing is that it was taken from, so that an opaque id can be recognised.
    """
    return "\n".join([title, *_lines(args, about or {})])


def _lines(args: Mapping[str, JsonValue], about: Mapping[str, str]) -> Iterator[str]:
    for name, value in args.items():
        if value is None or value == [] or value == "":
            continue
        text = safe(value if isinstance(value, str) else _flat(value))
        label = name.replace("_", " ")
        yield f"{label}:\n{_indented(text)}" if len(text.splitlines()) > 1 else f"{label}: {text}"
        if name in about:
            yield f"    which is {about[name]}"


def _flat(value: JsonValue) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(str(item) for item in value)
    return json.dumps(value, ensure_ascii=False)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


class Approvals:
    """The approvals of one run. Decisions are checked before they are recorded; a refused one leaves no trace."""

    def __init__(self) -> None:
        self._views: dict[str, ApprovalView] = {}
        self._about: dict[str, Mapping[str, str]] = {}

    def ask(
        self,
        step: BoundStep,
        args: dict[str, JsonValue],
        *,
        reasons: Sequence[str],
        origins: Sequence[Origin],
        about: Mapping[str, str],
        now: datetime,
    ) -> str:
        """Open an approval for a step and return its id."""
        approval_id = f"ap-{step.id}"
        self._about[approval_id] = about
        self._views[approval_id] = ApprovalView(
            id=approval_id,
            step_id=step.id,
            tool=step.tool,
            title=step.title,
            args=args,
            args_hash=args_hash(args),
            args_schema=step.args_schema or {},
            preview=preview(step.title, args, about),
            reasons=list(reasons),
            origins=list(origins),
            asked_at=now,
            status=ApprovalStatus.PENDING,
        )
        return approval_id

    def views(self) -> list[ApprovalView]:
        """All approvals in the order in which they were asked."""
        return list(self._views.values())

    def pending(self) -> list[ApprovalView]:
        """Those that still wait."""
        return [view for view in self._views.values() if view.status is ApprovalStatus.PENDING]

    def get(self, approval_id: str) -> ApprovalView:
        """One approval.

        Raises:
            ApplicationError: `ApprovalUnknown`; the message names those that wait.
        """
        if approval_id not in self._views:
            waiting = ", ".join(view.id for view in self.pending()) or "none"
            raise _refused("ApprovalUnknown", f"there is no approval {approval_id!r} here; waiting: {waiting}")
        return self._views[approval_id]

    def is_decided(self, approval_id: str) -> bool:
        """Whether it no longer waits."""
        return self._views[approval_id].status is not ApprovalStatus.PENDING

    def check(self, decide: Decide) -> None:
        """Refuse a decision that is late, stale or malformed.

        Raises:
            ApplicationError: `ApprovalUnknown`, `ApprovalDecided`, `ApprovalStale` or `InvalidArguments`.
        """
        view = self.get(decide.approval_id)
        if view.status is not ApprovalStatus.PENDING:
            by = f" by {view.decided_by}" if view.decided_by else ""
            raise _refused("ApprovalDecided", f"approval {view.id} was already {view.status}{by}; nothing was changed")
        if decide.args_hash != view.args_hash:
            raise _refused(
                "ApprovalStale",
                f"args_hash does not belong to what approval {view.id} asks now; read it again and decide on that",
            )
        self._check_edit(view, decide)

    def _check_edit(self, view: ApprovalView, decide: Decide) -> None:
        if decide.decision is not DecisionKind.EDIT:
            if decide.args is not None:
                raise _refused("InvalidArguments", "`args` belong to the decision 'edit' only")
            return
        if decide.args is None:
            raise _refused("InvalidArguments", "the decision 'edit' needs the new `args`, all of them")
        if any(references(decide.args)):
            raise _refused("InvalidArguments", "write the values themselves; an edit cannot refer to other steps")
        if problems := list(check_args(decide.args, view.args_schema)):
            raise _refused("InvalidArguments", f"the new arguments do not fit {view.tool}: {'; '.join(problems[:5])}")

    def record(self, decide: Decide, *, now: datetime) -> ApprovalView:
        """Record a checked decision."""
        view = self._views[decide.approval_id]
        changes: dict[str, object] = {
            "status": ApprovalStatus.REJECTED if decide.decision is DecisionKind.REJECT else ApprovalStatus.APPROVED,
            "decision": decide.decision,
            "decided_by": decide.by,
            "decided_at": now,
            "comment": decide.comment,
            "args_schema": {},
        }
        if decide.args is not None:
            changes |= {
                "args": decide.args,
                "args_hash": args_hash(decide.args),
                "preview": preview(view.title, decide.args, self._still_about(view, decide.args)),
            }
        self._views[view.id] = view.model_copy(update=changes)
        return self._views[view.id]

    def _still_about(self, view: ApprovalView, args: Mapping[str, JsonValue]) -> dict[str, str]:
        """What is known of the arguments that an edit left as they were."""
        return {name: text for name, text in self._about[view.id].items() if args.get(name) == view.args[name]}

    def close(self) -> None:
        """The run ends: whatever still waits can no longer be decided."""
        for view in self.pending():
            self._views[view.id] = view.model_copy(update={"status": ApprovalStatus.CANCELLED})


def _refused(kind: str, message: str) -> ApplicationError:
    return ApplicationError(message, type=kind, non_retryable=True)
