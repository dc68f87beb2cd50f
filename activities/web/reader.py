"""Reads a page's HTML in a separate process, which may fail without harm: see `activities.web.readable`."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from activities.web.contract import Link
from retinue.errors import ServiceRefused

MAX_CHARS = 30_000
_ROOT = Path(__file__).resolve().parents[2]
_DEADLINE = 10.0
_AT_ONCE = 2


class Text(BaseModel):
    """What is readable of a page."""

    title: str
    text: str
    truncated: bool
    links: list[Link]


@dataclass(frozen=True)
class _Ended:
    status: int | None
    output: bytes


class Reader:
    """Reads pages, two at a time."""

    def __init__(self, *, deadline: float = _DEADLINE) -> None:
        """Start nothing yet.

        Args:
            deadline: Seconds that one page may take; the process itself may compute for fewer.
        """
        self._deadline = deadline
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def read(self, html: str, *, base: str) -> Text:
        """Return the readable text of a page.

        Raises:
            ServiceRefused: It is built in a way that takes too much time or memory, so it would again.
        """
        asked = json.dumps({"base": base, "most": MAX_CHARS}).encode()
        async with self._turns:
            ended = await self._run(b"%s\n%s" % (asked, html.encode("utf-8", "replace")))
        try:
            if ended.status == 0:
                return Text.model_validate_json(ended.output)
        except ValidationError:
            pass  # it wrote nonsense, which is the same to whoever waits
        raise ServiceRefused("the page is built in a way that cannot be read as text")

    async def _run(self, given: bytes) -> _Ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "activities.web.readable"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=_ROOT,
            env={"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            async with asyncio.timeout(self._deadline):
                output, _ = await process.communicate(given)
                return _Ended(process.returncode, output)
        except TimeoutError:
            return _Ended(None, b"")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
