"""The A2A SDK's parts: the agent card, and a handler for one request. Imported lazily.

The SDK's own task store and queues are not used: a task is read from its run, the single source of truth.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import a2a.server.routes  # noqa: F401  # imports the adapter below, which cannot be imported first
from a2a.compat.v0_3.jsonrpc_adapter import JSONRPC03Adapter
from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    HTTPAuthSecurityScheme,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    SecurityRequirement,
    SecurityScheme,
    SendMessageRequest,
    StringList,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.types import Message as A2aMessage
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.task import validate_page_size
from fastapi import Request, Response
from google.protobuf import struct_pb2
from pydantic import JsonValue, ValidationError
from starlette.responses import JSONResponse
from temporalio.service import RPCError

from api.events.broker import Reader
from api.events.model import EventKind
from api.http.etags import matches
from api.protocols.a2a.request import WAIT, IncomingMessage, MessageReceiver
from api.protocols.a2a.tasks import RESTS, STATES, reply_of, task_of, update_of
from api.protocols.shared.call_context import CallContext
from retinue.capability import Manifest
from retinue.errors import CallerError, Conflict, NotAllowed, NotFound, RetinueError
from workflows.messages import AssistantStatus, AssistantView

VERSIONS = ("1.0", "0.3")
_MOST_SKILLS = 50
_TEXT = 500
_CARD_KEPT = "private, max-age=60"
"""Not for shared caches: on a single-user machine the card names the capabilities."""
_MOST_TASKS = 20
_INVALID_PARAMS = -32602
_TELLING = frozenset({EventKind.STATUS, EventKind.APPROVAL, EventKind.QUESTION, EventKind.END})
_log = logging.getLogger("retinue.api")
logging.getLogger("a2a").setLevel(logging.CRITICAL)  # it would log the callers' content
Result = TypeVar("Result")


def card_answer(
    base: str, manifests: Sequence[Manifest], *, protected: bool, if_none_match: str | None = None
) -> Response:
    """Return the card as an HTTP answer; 304 if the caller already has it."""
    answer = JSONResponse(agent_card_to_dict(card(base, manifests, protected=protected)))
    tag = f'W/"{hashlib.blake2b(bytes(answer.body), digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": _CARD_KEPT, "Vary": "Authorization, Cookie"}
    if matches(tag, if_none_match):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer


def card(base: str, manifests: Sequence[Manifest], *, protected: bool) -> AgentCard:
    """Build the agent card.

    Args:
        base: The API's address, with a trailing slash.
        manifests: Manifests of the capabilities that the card names as skills.
        protected: Callers need a key or token.
    """
    made = AgentCard(
        name="Retinue",
        description="A durable personal assistant: it plans a request over its capabilities and carries it out. What "
        "reaches other people or systems or cannot be undone waits for a decision.",
        version="1",
        supported_interfaces=[
            AgentInterface(url=f"{base}a2a", protocol_binding="JSONRPC", protocol_version=version)
            for version in VERSIONS
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=True),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[_assistant(), *(_skill(manifest) for manifest in manifests[:_MOST_SKILLS])],
    )
    if protected:
        bearer = HTTPAuthSecurityScheme(scheme="bearer", description="a personal API key or an OIDC token")
        made.security_schemes["bearer"].CopyFrom(SecurityScheme(http_auth_security_scheme=bearer))
        made.security_requirements.append(SecurityRequirement(schemes={"bearer": StringList()}))
    return made


def _assistant() -> AgentSkill:
    return AgentSkill(
        id="assistant",
        name="Carry out a request",
        description="Send a request in plain language.",
        tags=["assistant"],
        examples=["What is on my calendar tomorrow?"],
    )


def _skill(manifest: Manifest) -> AgentSkill:
    return AgentSkill(
        id=manifest.name,
        name=manifest.name,
        description=manifest.description[:_TEXT],
        tags=[tool.name for tool in manifest.tools if tool.plannable][:_MOST_SKILLS],
    )


async def answered(call: CallContext, request: Request) -> Response:
    """Answer one call."""
    if (refusal := await _wrong_params(request)) is not None:
        return refusal
    dispatcher = JsonRpcDispatcher(Assistants(call), enable_v0_3_compat=True)
    answer: Response = await dispatcher.handle_requests(request)
    return answer


async def _wrong_params(request: Request) -> Response | None:
    """Return the error for invalid parameters of version 0.3: the SDK calls the whole request invalid."""
    try:
        body = await request.json()
    except ValueError:
        return None
    method = body.get("method") if isinstance(body, dict) else None
    model = JSONRPC03Adapter.METHOD_TO_MODEL.get(method) if isinstance(method, str) else None
    if model is None:
        return None
    try:
        model.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        wrong = [one for one in found if one["loc"][:1] == ("params",)]
        if wrong and all(one["loc"][:1] in (("params",), ("id",)) for one in found) and _is_id(body.get("id")):
            problems = "; ".join(f"/{'/'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong[:5])
            refused = {"code": _INVALID_PARAMS, "message": f"some params are invalid: {problems}"[:1000]}
            return JSONResponse({"jsonrpc": "2.0", "id": body.get("id"), "error": refused})
    return None


def _is_id(value: JsonValue) -> bool:
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))


class Assistants(RequestHandler):
    """The protocol's methods for one caller."""

    def __init__(self, call: CallContext) -> None:
        self._call = call
        self._receiver = MessageReceiver(call)

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Return a task."""
        history = params.history_length if params.HasField("history_length") else None
        return await _result(lambda: self._task(params.id, history))

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """List the caller's tasks, newest first."""
        return await _result(lambda: self._tasks(params))

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Cancel a task. Completed effects stay."""

        async def stopped() -> Task:
            return await self._shown(await self._receiver.cancel(params.id))

        return await _result(stopped, conflict=TaskNotCancelableError)

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task:
        """Start a task, answer a question or decide; then wait a while for the outcome."""

        async def sent() -> Task:
            _refuse_push(params)
            assistant_id = await self._receiver.take(_incoming(params.message))
            seconds = 0.0 if params.configuration.return_immediately else WAIT
            view = await self._outcome(assistant_id, seconds=seconds)
            history = params.configuration.history_length if params.configuration.HasField("history_length") else None
            return await self._shown(view, history)

        return await _result(sent)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Handle a message and stream the task until it needs a person or has ended."""

        async def sent() -> str:
            _refuse_push(params)
            return await self._receiver.take(_incoming(params.message))

        assistant_id = await _result(sent)
        async with aclosing(self._stream(assistant_id)) as events:
            async for event in events:
                yield event

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Stream a task."""
        view = await _result(lambda: self._call.runs.view(params.id))
        if STATES[view.status] in RESTS - {TaskState.TASK_STATE_INPUT_REQUIRED}:
            raise UnsupportedOperationError("the task has ended; read it with GetTask")
        async with aclosing(self._stream(params.id)) as events:
            async for event in events:
                yield event

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """Return the agent card with the capabilities, for authenticated callers."""
        call = self._call
        manifests = await _result(call.state.directory.manifests)
        return card(call.base, manifests, protected=True)

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Push notifications are not supported; /v1/webhooks replaces them."""
        raise _no_push()

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Push notifications are not supported."""
        raise _no_push()

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """Push notifications are not supported."""
        raise _no_push()

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Push notifications are not supported."""
        raise _no_push()

    async def _task(self, assistant_id: str, history: int | None) -> Task:
        return await self._shown(await self._call.runs.view(assistant_id), history)

    async def _shown(self, view: AssistantView, history: int | None = None) -> Task:
        context_id = await self._receiver.context_of(view.id)
        return task_of(view, context_id, self._call.base, history=history)

    async def _outcome(self, assistant_id: str, *, seconds: float) -> AssistantView:
        if not seconds:
            return await self._call.runs.view(assistant_id)
        return await self._call.runs.settled(assistant_id, seconds=seconds, mine=True)

    async def _tasks(self, params: ListTasksRequest) -> ListTasksResponse:
        if params.HasField("page_size"):
            validate_page_size(params.page_size)
        if params.HasField("status_timestamp_after"):
            raise InvalidParamsError("tasks cannot be filtered by time; they are listed newest first")
        status = None
        if params.status:
            fitting = [name for name, state in STATES.items() if state == params.status]
            if not fitting:
                return ListTasksResponse(page_size=0)
            status = fitting[-1] if len(fitting) == 1 else None
        size = min(params.page_size or _MOST_TASKS, _MOST_TASKS)
        found, cursor = await self._call.runs.page(status=status, limit=size, cursor=params.page_token or None)
        tasks = [await self._task(run.id, params.history_length) for run in found]
        state = [
            task
            for task in tasks
            if (not params.status or task.status.state == params.status)
            and (not params.context_id or task.context_id == params.context_id)
        ]
        for task in state:
            if not params.include_artifacts:
                del task.artifacts[:]
        return ListTasksResponse(tasks=state, next_page_token=cursor or "", page_size=size, total_size=len(state))

    async def _stream(self, assistant_id: str) -> AsyncGenerator[Event]:
        """Yield the task, then each changed state, until it needs a person or has ended."""
        call = self._call
        await _result(lambda: call.events.ended(assistant_id))
        context_id = await self._receiver.context_of(assistant_id)
        async with call.events.reader(assistant_id) as reader:
            view = await _result(lambda: call.runs.view(assistant_id))
            yield task_of(view, context_id, call.base)
            before = _mark(view)
            while STATES[view.status] not in RESTS:
                await _news(reader)
                view = await _result(lambda: call.runs.view(assistant_id))
                if (mark := _mark(view)) != before:
                    before = mark
                    if view.status is AssistantStatus.COMPLETED:
                        artifact = reply_of(view, call.base)
                        yield TaskArtifactUpdateEvent(
                            task_id=assistant_id, context_id=context_id, artifact=artifact, last_chunk=True
                        )
                    yield update_of(view, context_id, call.base)


def _mark(view: AssistantView) -> str:
    """Return the parts of a view that a state shows."""
    approvals = [(approval.id, approval.status) for approval in view.approvals]
    return json.dumps([view.status, view.question_id, approvals], default=str)


async def _news(reader: Reader) -> None:
    """Return at an event that may change the state, or at the end of the events."""
    while not reader.over:
        if any(event.kind in _TELLING for event in await reader.read(15.0)):
            return


def _incoming(message: A2aMessage) -> IncomingMessage:
    """Convert a message of the protocol.

    Raises:
        ContentTypeNotSupportedError: It has parts other than text and JSON.
    """
    texts: list[str] = []
    data: list[JsonValue] = []
    for part in message.parts:
        kind = part.WhichOneof("content")
        if kind == "text":
            texts.append(part.text)
        elif kind == "data":
            data.append(_json(part.data))
        else:
            raise ContentTypeNotSupportedError("only text parts and JSON data parts are supported")
    return IncomingMessage(message.message_id, "\n\n".join(texts), tuple(data), message.task_id, message.context_id)


def _json(value: struct_pb2.Value) -> JsonValue:
    """Convert a protobuf value to JSON; protobuf has no integers."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return {name: _json(member) for name, member in value.struct_value.fields.items()}
        case "list_value":
            return [_json(member) for member in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None


def _refuse_push(params: SendMessageRequest) -> None:
    if params.configuration.HasField("task_push_notification_config"):
        raise _no_push()


def _no_push() -> PushNotificationNotSupportedError:
    return PushNotificationNotSupportedError("push notifications of single tasks are not supported; see /v1/webhooks")


async def _result(
    act: Callable[[], Awaitable[Result]], *, conflict: type[A2AError] = UnsupportedOperationError
) -> Result:
    """Return the result, translating errors to the protocol's. An edge: unexpected errors are logged.

    Raises:
        A2AError: The call failed.
    """
    try:
        return await act()
    except A2AError:
        raise
    except RetinueError as error:
        raise _refusal(error, conflict) from None
    except RPCError as error:
        _log.warning("temporal: %s", error.status.name)
        raise InternalError(
            "Temporal does not answer at the moment. Acknowledged requests are safe; try again"
        ) from None
    except Exception:
        _log.exception("an A2A call failed unexpectedly")
        raise InternalError("internal error (see the API's log)") from None


def _refusal(error: RetinueError, conflict: type[A2AError]) -> A2AError:
    words = f"{error.message} ({error.hint})" if error.hint else error.message
    match error:
        case NotFound():
            return TaskNotFoundError("there is no such task")
        case NotAllowed():
            return InvalidRequestError(words)
        case Conflict():
            return conflict(words)
        case CallerError():
            return InvalidParamsError(words)
    return InternalError(words)
