"""Lists of tools as servers write them: one odd tool does not take the others away.

The SDK refuses a whole list for one entry that is not as the protocol wants it. So each entry is mended where that is
safe, or taken out and named, before the SDK sees the list.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from types import TracebackType
from typing import Any, Self

from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse, Tool
from pydantic import ValidationError

_OPTIONAL = ("annotations", "icons", "execution", "_meta", "title", "description")
"""Parts of a tool that a call does not need."""


class LeftOut(dict[str, str]):
    """Why tools cannot be used, by the server's own names for them."""


@contextlib.asynccontextmanager
async def mended(transport: AbstractAsyncContextManager[Any], left_out: LeftOut) -> AsyncIterator[tuple[Any, Any]]:
    """Yield a transport whose lists of tools hold only tools that the SDK takes; `left_out` names the others."""
    async with transport as (read, write):
        yield _Reading(read, left_out), write


class _Reading:
    """The reading end of a transport."""

    def __init__(self, stream: Any, left_out: LeftOut) -> None:
        self._stream = stream
        self._left_out = left_out

    @property
    def last_context(self) -> Context | None:
        """The context of the sender, which some transports tell."""
        context: Context | None = getattr(self._stream, "last_context", None)
        return context

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message."""
        return self._mended(await self._stream.receive())

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return self._mended(await self._stream.__anext__())

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        ended: bool | None = await self._stream.__aexit__(kind, error, trace)
        return ended

    def _mended(self, item: SessionMessage | Exception) -> SessionMessage | Exception:
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, JSONRPCResponse) and "content" not in message.result:
            listed = message.result.get("tools")
            if isinstance(listed, list):
                message.result["tools"] = [tool for each in listed if (tool := self._tool(each)) is not None]
        return item

    def _tool(self, entry: Any) -> dict[str, Any] | None:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            self._left_out["a tool without a name"] = "its entry is no tool"
            return None
        schema = _of_object(entry.get("inputSchema"))
        if schema is None:
            self._left_out[name] = "its arguments are not described as an object"
            return None
        tool = {**entry, "inputSchema": schema}
        if _of_object(tool.get("outputSchema", {})) is None or not tool.get("outputSchema"):
            tool.pop("outputSchema", None)
        else:
            tool["outputSchema"] = _of_object(tool["outputSchema"])
        for optional in _OPTIONAL:
            if optional in tool and not _is_tool({"name": name, "inputSchema": {}, optional: tool[optional]}):
                del tool[optional]
        if not _is_tool(tool):
            self._left_out[name] = "its entry is not as the protocol wants it"
            return None
        return tool


def _of_object(schema: Any) -> dict[str, Any] | None:
    """Return a schema of an object; one that says nothing allows every object."""
    if schema is None or schema is True:
        return {"type": "object"}
    if not isinstance(schema, dict) or schema.get("type", "object") not in ("object", ["object"]):
        return None
    return {**schema, "type": "object"}


def _is_tool(entry: dict[str, Any]) -> bool:
    try:
        Tool.model_validate(entry, by_name=False)
    except ValidationError:
        return False
    return True
