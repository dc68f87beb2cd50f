"""The tools of one A2A agent: `ask`, which sends a message once, and `check_task`, which looks.

A message is recorded right before it is sent, and what the agent answers right after it, while the task may go on for
long: an attempt that comes after a crash finds the task's id and waits for it, and sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import uuid
from typing import Any, TypeVar

from a2a.types.a2a_pb2 import Message, Part, Role, Task
from pydantic import BaseModel, ValidationError
from temporalio import activity

from activities.a2a.answers import Outcome, State, of_message, of_task
from activities.a2a.config import Agent
from activities.a2a.connection import Connection, Failed
from activities.a2a.models import KnownTask
from activities.a2a.offers import Ask, CheckTask, fingerprint, manifest, settle, words
from activities.a2a.store import Pins, Said, Tasks
from retinue.capability import Manifest
from retinue.errors import (
    InvalidArguments,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    RetinueError,
    ServiceBusy,
    ServiceError,
    ServiceRefused,
)
from retinue.ledger import Commit, Ledger, effect_key, lasting_key
from retinue.operator_config import Redaction

_MOST_LOST = 1000
_FIRST_LOOK, _LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two looks at a task: each pause is half as long again as the one before."""
_MOST_TROUBLE = 6
"""Looks in a row that may fail before the attempt fails; it is tried again, and sends nothing."""
_LOOK_AGAIN = 1.0
_CANCELLING = 8.0
_OVER = frozenset({State.COMPLETED, State.FAILED, State.CANCELED, State.REJECTED})
_log = logging.getLogger("retinue.a2a")
Arguments = TypeVar("Arguments", bound=BaseModel)


class A2aTools:
    """The tools of one agent, over one connection."""

    def __init__(
        self,
        name: str,
        agent: Agent,
        connection: Connection,
        pins: Pins,
        tasks: Tasks,
        ledger: Ledger,
        redaction: Redaction,
    ) -> None:
        self._name = name
        self._agent = agent
        self._connection = connection
        self._pins = pins
        self._tasks = tasks
        self.ledger: Ledger = ledger
        self._redaction = redaction
        self._withheld: bool | None = None
        """Whether the card says something else than what was accepted; None before it was seen."""
        self._lost: dict[str, None] = {}
        """Keys of effects whose attempt ended here without an answer, oldest first."""

    async def look(self) -> Manifest | None:
        """Fetch the card; what is to be announced, or None while a changed card is not accepted.

        Raises:
            ServiceError: The agent or the own store does not answer, or the agent cannot be used.
        """
        card = await self._connection.card()
        pin = await self._pins.look(Said(fingerprint(card), words(card, self._redaction)))
        if pin.changed and not self._withheld:
            _log.warning(
                "the agent's card says something else than before; it is withheld until you accept it: "
                "python -P -m workers accept %s card",
                self._name,
                extra={"capability": self._name},
            )
        self._withheld = pin.changed
        return None if pin.changed else manifest(self._name, self._agent, card, self._redaction)

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call the tool of that full name.

        Raises:
            NotFound: There is no such tool, or no such task in this conversation.
            NotAllowed: What the card says changed and was not accepted.
            InvalidArguments: They do not fit.
            ServiceUnavailable: The agent cannot be reached now.
            ServiceBusy: It asks for a pause.
            ServiceRefused: It does not want this, failed, or wants somebody to sign in.
            OutcomeUnknown: It may have taken the message, or forgot what came of it.
        """
        verb = name.partition(".")[2]
        if verb == "ask":
            ask = _read(Ask, name, arguments)
            await self._check_accepted()
            return _usable(self._name, await self._followed(await self._begun(ask))).result()
        if verb == "check_task":
            check = _read(CheckTask, name, arguments)
            await self._check_accepted()
            await self._tasks.known(_workflow_id(), check.task_id)
            begun = Outcome(task_id=check.task_id, state=State.WORKING)
            return _usable(self._name, await self._followed(begun, at_once=True)).result()
        raise NotFound(f"the A2A agent {self._name} has no {name}")

    async def _check_accepted(self) -> None:
        if self._withheld is None:
            await self.look()
        if self._withheld:
            raise NotAllowed(
                f"the card of the A2A agent {self._name} says something else than what was accepted",
                hint=f"python -P -m workers accept {self._name}",
            )

    async def _begun(self, ask: Ask) -> Outcome:
        """Send the message, once; what the agent answered to it, at this attempt or at an earlier one."""
        known = await self._tasks.known(_workflow_id(), ask.task_id) if ask.task_id else None
        begun = await self._once(ask, self._message(ask, known), known)
        if begun.task_id:
            await self._note(begun)
        return begun

    def _message(self, ask: Ask, known: KnownTask | None) -> Message:
        """Return the message of this step. Its id is the same at each attempt and reveals nothing."""
        digest = hashlib.sha256(f"{self._name}\n{lasting_key()}".encode()).digest()
        message = Message(
            message_id=str(uuid.UUID(bytes=digest[:16])), role=Role.ROLE_USER, parts=[Part(text=ask.message)]
        )
        if known is not None:
            message.context_id = known.context_id
            if known.over:  # it takes no more messages; the agent may know it from before
                message.reference_task_ids.append(known.task_id)
            else:
                message.task_id = known.task_id
        return message

    async def _once(self, ask: Ask, message: Message, known: KnownTask | None) -> Outcome:
        key = effect_key()
        dark = OutcomeUnknown(
            f"the A2A agent {self._name} gave no answer to the message; nobody knows whether it was taken"
        )
        looked = False

        async def act(commit: Commit) -> Outcome:
            await self._connection.ready()  # before it counts as begun: most of what can fail is behind us then
            await commit()
            try:
                return self._outcome(await self._connection.send(message))
            except Failed:
                return Outcome(failed=True, state=State.FAILED)
            except OutcomeUnknown:
                self._lose(key)
                raise

        async def verify() -> Outcome | None:
            nonlocal looked
            continued = known.task_id if known is not None and not known.over else None
            for pause in (_LOOK_AGAIN, 0):
                if (found := await self._connection.find(message.message_id, continued)) is not None:
                    return self._outcome(found)
                await asyncio.sleep(pause)
            if self._agent.idempotent:
                return None
            looked = True
            raise dark

        try:
            return await self.ledger.once_outside(ask, Outcome, act=act, verify=verify, settle=settle(self._agent))
        except ServiceBusy:
            if looked and key in self._lost:
                raise dark from None  # only our own attempt could still have reported, and it has ended
            raise

    def _lose(self, key: str) -> None:
        self._lost[key] = None
        while len(self._lost) > _MOST_LOST:
            del self._lost[next(iter(self._lost))]

    def _outcome(self, answer: Task | Message) -> Outcome:
        return of_task(answer, self._redaction) if isinstance(answer, Task) else of_message(answer, self._redaction)

    async def _note(self, outcome: Outcome) -> None:
        over = outcome.state in _OVER
        await self._tasks.remember(_workflow_id(), outcome.task_id, outcome.context_id, over=over)

    async def _followed(self, begun: Outcome, *, at_once: bool = False) -> Outcome:
        """Wait until the task no longer works, at most as long as the operator says; a cancelled step stops it there.

        Raises:
            ServiceError: The agent cannot be asked for a while; a later attempt goes on.
            OutcomeUnknown: It has forgotten the task.
        """
        try:
            if activity.is_cancelled():  # the ledger finishes what it sends even when the step is cancelled
                raise asyncio.CancelledError
            found = await self._waited(begun, at_once=at_once)
        except asyncio.CancelledError:
            await self._stop(begun)
            raise
        if found.state != begun.state:
            await self._note(found)
        return found

    async def _waited(self, begun: Outcome, *, at_once: bool) -> Outcome:
        found, pause, trouble = begun, 0.0 if at_once else _FIRST_LOOK, 0
        deadline = asyncio.get_running_loop().time() + self._agent.wait_seconds
        while found.state == State.WORKING and asyncio.get_running_loop().time() + pause < deadline:
            await asyncio.sleep(pause)
            pause = min(max(pause * 1.5, _FIRST_LOOK), _LONGEST_PAUSE)
            try:
                found, trouble = await self._now(begun.task_id), 0
            except ServiceError as error:
                trouble += 1
                if not error.retryable or trouble > _MOST_TROUBLE:
                    raise
                pause = max(pause, error.retry_after if isinstance(error, ServiceBusy) else 0)
        return found

    async def _now(self, task_id: str) -> Outcome:
        try:
            found = of_task(await self._connection.task(task_id), self._redaction)
        except NotFound:
            raise OutcomeUnknown(
                f"the A2A agent {self._name} took the message and has forgotten the task; nobody knows what was done"
            ) from None
        if found.task_id != task_id:
            raise ServiceRefused(
                f"the A2A agent {self._name} answers with another task than the one that was asked for"
            )
        return found

    async def _stop(self, begun: Outcome) -> None:
        """Ask the agent to stop, where the step was cancelled, and not only its worker."""
        details = activity.cancellation_details()
        if not begun.task_id or begun.state != State.WORKING or details is None or not details.cancel_requested:
            return
        with contextlib.suppress(RetinueError, TimeoutError):
            async with asyncio.timeout(_CANCELLING):
                await self._connection.cancel(begun.task_id)


def _workflow_id() -> str:
    return activity.info().workflow_id or "standalone"


def _read(model: type[Arguments], name: str, arguments: dict[str, Any]) -> Arguments:
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        places = sorted({"/".join(map(str, found["loc"])) for found in error.errors(include_input=False)})
        raise InvalidArguments(f"these arguments of {name} do not fit its schema: {', '.join(places)[:300]}") from None


def _usable(name: str, outcome: Outcome) -> Outcome:
    """Completed, working or asking. The agent's words on anything else are left where they are.

    Raises:
        ServiceRefused: It failed, did not want to, was stopped, or wants somebody to sign in.
    """
    match outcome.state:
        case State.FAILED:
            raise ServiceRefused(f"the A2A agent {name} says that it failed; its own words stay there")
        case State.REJECTED:
            raise ServiceRefused(f"the A2A agent {name} does not want to do this")
        case State.CANCELED:
            raise ServiceRefused(f"the task was stopped at the A2A agent {name}")
        case State.AUTH_REQUIRED:
            raise ServiceRefused(
                f"the A2A agent {name} wants somebody to sign in", hint="check `headers` in its configuration"
            )
        case _:
            return outcome
