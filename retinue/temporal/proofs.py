"""Proofs, by which workflows verify that a change of a run came through the API.

Anyone with access to Temporal can start workflows and send updates and signals in any person's name. In the mode `proved`
the API and the workflow workers share a key. Each start and each update then carries, as a Temporal header, a MAC over its
whole content: the workflow, the update, every argument (so also the approval, the hash of its arguments, the decision, the
person, edited arguments, a requested grant), its expiry, and its id, so that it counts once.

Workers check it where Temporal calls them once and never in a replay: in an update's validator, and in a run's first task.
So no key and no verdict is part of a history, and a removed key does not affect old runs. What a run starts as a child, or
continues as, gets a proof from its worker: that it has a parent or a run before it proves nothing. Plain signals carry no proof:
`AssistantWorkflow` refuses them in runs that began with a proof. Why: docs/decisions/0021.

    python -P -m retinue.temporal.keyring new-key      prints a key, for these too
"""

from __future__ import annotations

import hmac
import inspect
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio import client, worker, workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from retinue.errors import ClockIsWrong
from retinue.json_values import canonical_json, json_sha256
from retinue.settings import RetinueSettings
from retinue.temporal.failures import non_retryable
from retinue.temporal.keyring import SCHEDULE_SUFFIX, Keyring, create_key_file, read_keys

HEADER = "retinue-proof"
CANCEL = "cancel"
"""The name in a cancellation's proof. A cancellation has no header; its reason carries the proof."""
PROVED_TYPES = frozenset(
    {"AssistantWorkflow", "UndoWorkflow", "PersonWorkflow", "MemoryRequestWorkflow", "AccountWatchWorkflow"}
)
"""Workflow types whose start needs a proof, since it chooses effects, policies or grants, or reads a person's memory."""
ANNOUNCED_TYPES = frozenset({"RegistryWorkflow"})
GOOD_FOR = timedelta(minutes=2)
"""How long a proof is valid: longer than any update waits for a worker; the API's clock may be off by nearly as much."""
_MOST_AHEAD = 2 * GOOD_FOR
"""A proof that is valid for longer than this comes from a clock that is ahead by more than `GOOD_FOR`."""
_VERSION = 1
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
_MOST_HEADER = 1024


class Mode(StrEnum):
    """Which decisions count."""

    OPEN = "open"
    """All that reach Temporal, for one person on loopback who uses Temporal's own tools."""
    PROVED = "proved"
    """Only those through the API."""


class ProofSettings(BaseSettings):
    """`RETINUE_DECISIONS`, `RETINUE_DECISION_KEYS`, `RETINUE_DECISION_KEY_FILE`, `RETINUE_ANNOUNCE_KEYS`."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retinue_decisions: Mode | None = Field(
        None, description="'open' or 'proved'; by default 'proved' where people are told apart or a key is set"
    )
    retinue_decision_keys: SecretStr | None = Field(None, description="`id:key`, by comma; the first one signs")
    retinue_decision_key_file: Path | None = Field(None, description="a file with one `id:key` a line")
    retinue_announce_keys: SecretStr | None = Field(
        None, description="`id:key`, by comma: with them the registry hears only workers that have the key"
    )
    retinue_user_header: str | None = None
    retinue_oidc_issuer: str | None = None

    def mode(self) -> Mode:
        """Which decisions count."""
        told_apart = self.retinue_user_header or self.retinue_oidc_issuer
        keyed = self.retinue_decision_keys or self.retinue_decision_key_file
        return self.retinue_decisions or (Mode.PROVED if told_apart or keyed else Mode.OPEN)

    def interceptors(self, namespace: str) -> list[ProvedMessages]:
        """Return the interceptors for a Temporal client and its workers; empty if nothing is proved."""
        if self.mode() is Mode.OPEN and self.retinue_announce_keys is None:
            return []
        return [ProvedMessages(self, namespace)]

    def keyring(self) -> Keyring:
        """Return the keys of decisions. If none is set, create one in the data folder.

        Raises:
            ValueError: They are malformed or cannot be read. The message contains no part of a key.
        """
        own = RetinueSettings().data_dir.resolve() / "decision.keys"
        keyring = self.configured_keyring() or read_keys(None, create_key_file(own), kind="decision")
        assert keyring is not None
        return keyring

    def configured_keyring(self) -> Keyring | None:
        """Return the keys of decisions that are set; None if `keyring` would use those of the data folder.

        Raises:
            ValueError: They are malformed or cannot be read. The message contains no part of a key.
        """
        return read_keys(self.retinue_decision_keys, self.retinue_decision_key_file, kind="decision")

    def announce_keyring(self) -> Keyring | None:
        """Return the keys of announcements, or None if they need no proof.

        Raises:
            ValueError: They are malformed.
        """
        return read_keys(self.retinue_announce_keys, None, kind="announce")


@dataclass(frozen=True)
class Message:
    """The content of a proof: one start or update with all arguments.

    Args:
        namespace: Of Temporal.
        workflow_id: Its receiver; for a schedule's start the id without the time that Temporal adds.
        name: Of the update, or the workflow's type.
        update_id: Temporal accepts each id once per run, so a replayed proof is the same update. Empty for a start.
        args: Its arguments.
    """

    namespace: str
    workflow_id: str
    name: str
    update_id: str
    args: Sequence[Any]

    def signed_content(self, key: str, expires: int | None) -> bytes:
        """Return the content of the MAC as canonical JSON, with the arguments as they cross Temporal."""
        said = _ANYTHING.dump_python(list(self.args), mode="json", by_alias=True, exclude_unset=True)
        kind = "update" if self.update_id else "start"
        parts = [
            _VERSION,
            kind,
            self.namespace,
            self.workflow_id,
            self.name,
            self.update_id,
            key,
            expires,
            json_sha256(said),
        ]
        return canonical_json(parts).encode()


class Proof(BaseModel):
    """The content of the header."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(max_length=40, description="the id of the key")
    expires: int | None = Field(None, description="Unix seconds; never for what a schedule starts")
    mac: str = Field(max_length=64)


def proved(message: Message, keyring: Keyring, *, expires: datetime | None) -> Payload:
    """Return a proof for a message, for its header."""
    key = keyring.primary
    until = None if expires is None else int(expires.timestamp())
    mac = keyring.mac(key, message.signed_content(key, until))
    assert mac is not None
    data = Proof(key=key, expires=until, mac=mac).model_dump_json().encode()
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def check(
    message: Message, header: Payload | None, keyring: Keyring, *, now: datetime, of_schedule: bool = False
) -> None:
    """Refuse a message without a valid proof. `of_schedule`: it is a schedule's action itself, not its run.

    Raises:
        ApplicationError: `NotProved`.
    """
    proof = _shown(header)
    scheduled = message.workflow_id if of_schedule else _scheduled_as(message)
    if proof.expires is None:
        # only starts of schedules never expire, and each is valid only for its own schedule's runs
        if scheduled is None:
            raise _not_proved("its proof has no expiry")
        message = replace(message, workflow_id=scheduled)
    elif now.timestamp() > proof.expires:
        raise _not_proved("its proof has expired")
    elif now.timestamp() < proof.expires - _MOST_AHEAD.total_seconds():
        raise _not_proved("its proof is from the future")
    mac = keyring.mac(proof.key, message.signed_content(proof.key, proof.expires))
    if mac is None:
        raise _not_proved("its proof was made with a key that this workflow worker does not have")
    if not hmac.compare_digest(mac.encode(), proof.mac.encode()):
        raise _not_proved("its proof belongs to another message")


def _shown(header: Payload | None) -> Proof:
    if header is None:
        raise _not_proved("it carries no proof")
    try:
        return Proof.model_validate_json(header.data[:_MOST_HEADER])
    except ValidationError:
        raise _not_proved("its proof cannot be read") from None


def _scheduled_as(message: Message) -> str | None:
    """Return the id of a schedule's action from that of a run it started; None if no schedule started the run."""
    workflow_id = message.workflow_id
    end = None if message.update_id else SCHEDULE_SUFFIX.search(workflow_id)
    return workflow_id[: end.start()] if end and end.end() == len(workflow_id) else None


def proves(asked: client.Client) -> bool:
    """Whether this client adds proofs."""
    return _decisions_of(asked) is not None


def kept_mac(asked: client.Client, workflow_id: str, name: str, update_id: str, args: Sequence[Any]) -> str:
    """Return a MAC for an update that is stored until it can be sent; empty in the mode `open`. Not a valid proof."""
    ring = _decisions_of(asked)
    if ring is None:
        return ""
    key = ring.primary
    return f"{key}:{ring.mac(key, _kept_content(asked, workflow_id, name, update_id, args, key))}"


def keeps(asked: client.Client, mac: str, workflow_id: str, name: str, update_id: str, args: Sequence[Any]) -> bool:
    """Whether a stored update is unchanged since `mac` was made; always true in the mode `open`."""
    ring = _decisions_of(asked)
    if ring is None:
        return True
    key, _, shown = mac.partition(":")
    made = ring.mac(key, _kept_content(asked, workflow_id, name, update_id, args, key))
    return made is not None and hmac.compare_digest(made.encode(), shown.encode())


def _kept_content(
    asked: client.Client, workflow_id: str, name: str, update_id: str, args: Sequence[Any], key: str
) -> bytes:
    return Message(asked.namespace, workflow_id, f"kept {name}", update_id, args).signed_content(key, None)


def _decisions_of(asked: client.Client) -> Keyring | None:
    found = [one for one in asked.config()["interceptors"] if isinstance(one, ProvedMessages)]
    return found[0].decisions() if found else None


def check_clock(server_time: datetime, *, at: datetime) -> None:
    """Raise an error if this process's clock is so wrong that its proofs do not hold.

    Args:
        server_time: By Temporal's clock.
        at: By this process's clock at that moment.

    Raises:
        ClockIsWrong: It is behind or ahead by more than `GOOD_FOR`.
    """
    behind = server_time - at
    if abs(behind) > GOOD_FOR:
        raise ClockIsWrong(
            f"the clock of this API is {round(abs(behind).total_seconds() / 60)} minutes "
            f"{'behind' if behind > timedelta() else 'ahead of'} Temporal's, so that its requests are refused",
            hint="the operator must set the clocks of both machines, as by NTP",
        )


def _not_proved(why: str) -> ApplicationError:
    return non_retryable(
        "NotProved",
        f"only requests with this installation's key are accepted, and {why}; nothing was changed",
    )


def began_proved() -> bool:
    """Return in a workflow whether this run began with a proof; it is part of the history, so replays agree."""
    return HEADER in workflow.info().headers


def reason_without_proof(reason: str | None) -> str:
    """Return a cancellation's reason without the proof in it."""
    return (reason or "").partition(" ")[0]


def is_proved_schedule(asked: client.Client, action: client.ScheduleActionStartWorkflow, args: Sequence[Any]) -> bool:
    """Whether a schedule's action carries a valid proof; always true in the mode `open`.

    Args:
        asked: The client whose keys are used.
        action: Of the schedule.
        args: Its arguments, decoded.
    """
    ring = _decisions_of(asked)
    if ring is None:
        return True
    message = Message(asked.namespace, action.id, action.workflow, "", args)
    try:
        check(message, (action.headers or {}).get(HEADER), ring, now=clock(), of_schedule=True)
    except ApplicationError:
        return False
    return True


def is_proved_cancellation(asked: client.Client, workflow_id: str, reason: str, *, at: datetime) -> bool:
    """Whether a cancellation's reason carries a valid proof, by the keys of the worker that `asked` belongs to."""
    wanted, _, shown = reason.partition(" ")
    ring = _decisions_of(asked)
    if ring is None:
        return False
    message = Message(asked.namespace, workflow_id, CANCEL, CANCEL, [wanted])
    try:
        check(message, Payload(data=shown.encode()), ring, now=at)
    except ApplicationError:
        return False
    return True


class ProvedMessages(client.Interceptor, worker.Interceptor):
    """Adds proofs to a client's messages, and checks those to workflows on its workers.

    Keys are read at first use, so never in a capability's worker.
    """

    def __init__(self, settings: ProofSettings, namespace: str) -> None:
        self._settings = settings
        self._decides = settings.mode() is Mode.PROVED
        self._decisions: Keyring | None = None
        self._announcements = settings.announce_keyring()
        self.namespace = namespace

    def decisions(self) -> Keyring | None:
        """Return the keys of decisions; None in the mode `open`."""
        if self._decides and self._decisions is None:
            self._decisions = self._settings.keyring()
        return self._decisions

    def keyring_of(self, workflow_type: str) -> Keyring | None:
        """Return the keys by which such a workflow's messages are proved; None where they need no proof."""
        if workflow_type in PROVED_TYPES:
            return self.decisions()
        return self._announcements if workflow_type in ANNOUNCED_TYPES else None

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:  # as its base calls it
        """Add proofs to outgoing messages."""
        return _Proving(next, self)

    def workflow_interceptor_class(
        self,
        input: worker.WorkflowInterceptorClassInput,  # as its base calls it
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Check incoming messages. The keys are read here, so that a worker without them does not start."""
        del input
        keyrings = {name: ring for name in PROVED_TYPES | ANNOUNCED_TYPES if (ring := self.keyring_of(name))}
        return type("Checking", (_Checking,), {"keyrings": keyrings})


class _Proving(client.OutboundInterceptor):
    """Adds proofs to starts, updates and schedules."""

    def __init__(self, following: client.OutboundInterceptor, proofs: ProvedMessages) -> None:
        super().__init__(following)
        self._proofs = proofs

    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:
        input.headers = self._start(input, input.headers)
        return await super().start_workflow(input)

    async def start_workflow_update(
        self,
        input: client.StartWorkflowUpdateInput,
    ) -> client.WorkflowUpdateHandle[Any]:
        if ring := self._proofs.decisions():  # those to the registry come with its start, so all others are for runs
            input.update_id = input.update_id or str(uuid.uuid4())
            input.headers = {
                **input.headers,
                HEADER: self._proof(ring, input.id, input.update, input.update_id, input.args),
            }
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self,
        input: client.StartWorkflowUpdateWithStartInput,
    ) -> client.WorkflowUpdateHandle[Any]:
        start, update = input.start_workflow_input, input.update_workflow_input
        if ring := self._proofs.keyring_of(start.workflow):
            start.headers = self._start(start, start.headers)
            update.update_id = update.update_id or str(uuid.uuid4())
            update.headers = {
                **update.headers,
                HEADER: self._proof(ring, start.id, update.update, update.update_id, update.args),
            }
        return await super().start_update_with_start_workflow(input)

    async def cancel_workflow(self, input: client.CancelWorkflowInput) -> None:
        if input.reason and (ring := self._proofs.decisions()):
            shown = self._proof(ring, input.id, CANCEL, CANCEL, [input.reason])
            input.reason = f"{input.reason} {shown.data.decode()}"
        await super().cancel_workflow(input)

    async def create_schedule(self, input: client.CreateScheduleInput) -> client.ScheduleHandle:
        action = input.schedule.action
        if isinstance(action, client.ScheduleActionStartWorkflow):
            self._prove_schedule(action)
        return await super().create_schedule(input)

    async def update_schedule(self, input: client.UpdateScheduleInput) -> None:
        change = input.updater

        async def proved_change(found: client.ScheduleUpdateInput) -> client.ScheduleUpdate | None:
            wanted = change(found)
            update = await wanted if inspect.isawaitable(wanted) else wanted
            if update and isinstance(update.schedule.action, client.ScheduleActionStartWorkflow):
                self._prove_schedule(update.schedule.action)
            return update

        input.updater = proved_change
        await super().update_schedule(input)

    def _prove_schedule(self, action: client.ScheduleActionStartWorkflow) -> None:
        if ring := self._proofs.keyring_of(action.workflow):
            message = Message(self._proofs.namespace, action.id, action.workflow, "", action.args)
            action.headers = {**(action.headers or {}), HEADER: proved(message, ring, expires=None)}

    def _start(
        self,
        start: client.StartWorkflowInput | client.UpdateWithStartStartWorkflowInput,
        headers: Mapping[str, Payload],
    ) -> Mapping[str, Payload]:
        ring = self._proofs.keyring_of(start.workflow)
        return {**headers, HEADER: self._proof(ring, start.id, start.workflow, "", start.args)} if ring else headers

    def _proof(self, ring: Keyring, workflow_id: str, name: str, update_id: str, args: Sequence[Any]) -> Payload:
        message = Message(self._proofs.namespace, workflow_id, name, update_id, args)
        return proved(message, ring, expires=clock() + GOOD_FOR)


def clock() -> datetime:
    """Return the clock by which proofs are made: the machine's own, as the Temporal server uses it."""
    return datetime.now().astimezone()


class _Checking(worker.WorkflowInboundInterceptor):
    """Refuses starts and updates without a valid proof."""

    keyrings: Mapping[str, Keyring]

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_ProvingRuns(outbound, self.keyrings))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:
        # children and continued runs too: a stranger's own workflow can begin them, or a start with a cron schedule
        if not workflow.unsafe.is_replaying() and (ring := self._ring()):
            info = workflow.info()
            message = Message(info.namespace, info.workflow_id, info.workflow_type, "", input.args)
            check(message, input.headers.get(HEADER), ring, now=info.start_time)
        return await super().execute_workflow(input)

    def handle_update_validator(self, input: worker.HandleUpdateInput) -> None:
        if ring := self._ring():
            info = workflow.info()
            message = Message(info.namespace, info.workflow_id, input.update, input.id, input.args)
            try:
                check(message, input.headers.get(HEADER), ring, now=workflow.now())
            except ApplicationError:
                # a refused update leaves no event, so that nobody can fill a history with them; the log records it
                workflow.logger.warning("an update without a proof was refused", extra={"update": input.update[:40]})
                raise
        super().handle_update_validator(input)

    def _ring(self) -> Keyring | None:
        return self.keyrings.get(workflow.info().workflow_type)


class _ProvingRuns(worker.WorkflowOutboundInterceptor):
    """Adds proofs to children and to what continues as new. Replays make others, which Temporal does not compare."""

    def __init__(self, following: worker.WorkflowOutboundInterceptor, keyrings: Mapping[str, Keyring]) -> None:
        super().__init__(following)
        self._keyrings = keyrings

    async def start_child_workflow(
        self,
        input: worker.StartChildWorkflowInput,
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        proof = self._proof(input.workflow, input.id, input.args)
        return await super().start_child_workflow(replace(input, headers={**input.headers, **proof}))

    def continue_as_new(self, input: worker.ContinueAsNewInput) -> NoReturn:
        info = workflow.info()
        proof = self._proof(input.workflow or info.workflow_type, info.workflow_id, input.args)
        super().continue_as_new(replace(input, headers={**input.headers, **proof}))

    def _proof(self, workflow_type: str, workflow_id: str, args: Sequence[Any]) -> Mapping[str, Payload]:
        ring = self._keyrings.get(workflow_type)
        if ring is None:
            return {}
        message = Message(workflow.info().namespace, workflow_id, workflow_type, "", _as_received(args))
        return {HEADER: proved(message, ring, expires=workflow.now() + GOOD_FOR)}


def _as_received(args: Sequence[Any]) -> Sequence[Any]:
    """Return arguments of a start as the workflow gets them: what code copied without checks is of the declared types."""
    converter = workflow.payload_converter()
    return converter.from_payloads(converter.to_payloads(args), [type(argument) for argument in args])
