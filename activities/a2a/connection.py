"""Requests to one agent by the SDK's client: its card, messages, and what becomes of tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import httpx
from a2a.client.card_resolver import parse_agent_card
from a2a.client.client import Client, ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    SendMessageConfiguration,
    SendMessageRequest,
    Task,
)
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidAgentResponseError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import ParseError

from activities.a2a.config import Agent
from activities.a2a.http import EXCHANGE, Exchange, http_client, origin
from retinue.errors import (
    NotFound,
    OutcomeUnknown,
    RetinueError,
    ServiceError,
    ServiceRefused,
    ServiceUnavailable,
)

_BINDINGS = ["JSONRPC", "HTTP+JSON"]
_NONSENSE = (A2AError, ParseError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, RecursionError)
"""What the SDK raises where an agent says no, or answers something that is none."""
_HISTORY = 50
_PAGES, _PAGE = 3, 20
Answered = TypeVar("Answered")


class Failed(RetinueError):
    """The agent answered that it failed. It may have acted; it is not asked again."""


class Connection:
    """One agent behind one HTTP client. Everything that is sent goes to the configured address."""

    def __init__(self, name: str, agent: Agent) -> None:
        self._name = f"the A2A agent {name}"
        self._url = httpx.URL(agent.url.get_secret_value())
        self._http = http_client(name, agent)
        self._client: Client | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def card(self) -> AgentCard:
        """Return the agent's card, fetched anew; from then on messages go where it says, at the configured address.

        Raises:
            ServiceUnavailable: The agent does not answer, or answers no card.
            ServiceRefused: It does not let us in, or cannot be spoken to at the configured address.
        """
        card = await self._asked(self._fetched)
        here = [
            one for one in card.supported_interfaces if self._is_here(one.url) and one.protocol_binding in _BINDINGS
        ]
        if not here:
            raise ServiceRefused(
                f"{self._name} cannot be spoken to by HTTP at its configured address",
                hint="its card names other addresses",
            )
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(here)
        config = ClientConfig(
            streaming=False, polling=True, httpx_client=self._http, supported_protocol_bindings=_BINDINGS
        )
        self._client = ClientFactory(config).create(card)
        return card

    async def _fetched(self) -> AgentCard:
        is_card = self._url.path.endswith(".json")
        url = self._url if is_card else f"{str(self._url).rstrip('/')}{AGENT_CARD_WELL_KNOWN_PATH}"
        response = await self._http.get(url)
        if response.status_code != httpx.codes.OK:
            raise ServiceUnavailable(f"{self._name} shows no card (HTTP {response.status_code})")
        return parse_agent_card(response.json())

    def _is_here(self, url: str) -> bool:
        try:
            return origin(httpx.URL(url)) == origin(self._url)
        except httpx.InvalidURL:
            return False

    async def ready(self) -> Client:
        """Return the SDK's client, made by the card. Errors as for `card`."""
        if self._client is None:
            await self.card()
        assert self._client is not None
        return self._client

    async def send(self, message: Message) -> Task | Message:
        """Send a message, once; does not wait for what comes of it.

        Raises:
            Failed: The agent answered that it failed.
            OutcomeUnknown: It was sent and no answer came that says anything.
            RetinueError: Of other types: it did not act.
        """
        client = await self.ready()
        request = SendMessageRequest(
            message=message, configuration=SendMessageConfiguration(return_immediately=True, history_length=1)
        )

        async def sent() -> Task | Message:
            async for answer in client.send_message(request):
                return answer.task if answer.HasField("task") else answer.message
            raise ValueError

        return await self._asked(sent, changes=True)

    async def task(self, task_id: str, *, history: int = 1) -> Task:
        """Return the state of a task.

        Raises:
            NotFound: The agent knows no such task.
            ServiceError: It cannot be asked now, or refuses.
        """
        client = await self.ready()
        return await self._asked(lambda: client.get_task(GetTaskRequest(id=task_id, history_length=history)))

    async def cancel(self, task_id: str) -> None:
        """Ask the agent to stop. Errors as for `task`."""
        client = await self.ready()
        await self._asked(lambda: client.cancel_task(CancelTaskRequest(id=task_id)))

    async def find(self, message_id: str, task_id: str | None) -> Task | None:
        """The task in which a message of that id arrived, if the agent says so. That it says nothing proves nothing.

        Raises:
            ServiceUnavailable: It cannot be asked now.
            ServiceBusy: It asks for a pause.
        """
        try:
            if task_id:
                task = await self.task(task_id, history=_HISTORY)
                return task if _holds(task, message_id) else None
            found = await self._listed(message_id)
            return None if found is None else await self.task(found)
        except (NotFound, ServiceRefused):
            return None

    async def _listed(self, message_id: str) -> str | None:
        client = await self.ready()
        token = ""
        for _ in range(_PAGES):
            request = ListTasksRequest(page_size=_PAGE, page_token=token, history_length=_HISTORY)
            page = await self._asked(partial(client.list_tasks, request))
            for task in page.tasks:
                if _holds(task, message_id):
                    return str(task.id)
            token = page.next_page_token
            if not token:
                break
        return None

    async def _asked(self, ask: Callable[[], Awaitable[Answered]], *, changes: bool = False) -> Answered:
        exchange = Exchange(changes=changes)
        noted = EXCHANGE.set(exchange)
        try:
            return await ask()
        except _NONSENSE as error:
            raise self._judged(error, exchange) from None
        finally:
            EXCHANGE.reset(noted)

    def _judged(self, error: Exception, exchange: Exchange) -> RetinueError:
        """What an error means. The agent's own words are left where they are."""
        if isinstance(error, TaskNotFoundError):
            return NotFound(f"{self._name} does not know that task")
        if isinstance(error, (InternalError, InvalidAgentResponseError)):
            return Failed(f"{self._name} says that it failed") if exchange.changes else self._useless()
        if _is_a_no(error) or (exchange.status or 0) >= 400:
            return ServiceRefused(f"{self._name} does not take this request")
        if exchange.changes and exchange.status is not None:
            return OutcomeUnknown(f"the answer of {self._name} makes no sense; nobody knows whether it was done")
        return self._useless()

    def _useless(self) -> ServiceError:
        return ServiceUnavailable(f"the answer of {self._name} makes no sense")


def _is_a_no(error: Exception) -> bool:
    """Whether the agent said that it does not do such a thing, by one of the protocol's own errors."""
    return isinstance(error, (UnsupportedOperationError, NotImplementedError)) or (
        isinstance(error, A2AError) and type(error).__module__ == A2AError.__module__
    )


def _holds(task: Task, message_id: str) -> bool:
    return any(message.message_id == message_id for message in task.history)
