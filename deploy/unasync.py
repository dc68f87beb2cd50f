"""Writes the client that waits for each answer from the one for asyncio: `python -P -m deploy.unasync`, by `make format`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "retinue" / "client"
SYNC = CLIENT / "sync_client.py"
_ONLY_SYNC = '''
    def as_async(self) -> AsyncClient:
        """A client for asyncio with the same address and credentials."""
        key = self._door.api_key
        return AsyncClient(
            self.url, key.get_secret_value() if key else "", timeout=self._timeout, retries=self._retries
        )
'''
_CHANGES = (
    (
        r'^""".*"""\n',
        '"""The client that waits for each answer. Written by `deploy.unasync`: change `async_client.py`."""\n',
    ),
    (r"^import asyncio$", "import time"),
    (r"asyncio\.sleep\(", "time.sleep("),
    (r"asyncio\.get_running_loop\(\)\.time\(\)", "time.monotonic()"),
    (r"\b(async|await) ", ""),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\ba(iter_bytes|close)\b", r"\1"),
    (r"AsyncBaseTransport", "BaseTransport"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"for (\w+) in (.+):\n +yield \1$", r"yield from \2"),
    (r"^(from retinue\.client import .+\n)", r"\1from retinue.client.async_client import AsyncClient\n"),
    (r"(\n        self\._http\.close\(\)\n)", rf"\1{_ONLY_SYNC}"),
)
"""Patterns and what takes their place, in this order."""


def generated() -> str:
    """The text of `sync_client.py`."""
    text = (CLIENT / "async_client.py").read_text(encoding="utf-8")
    for pattern, instead in _CHANGES:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(SYNC), "-"]
    return subprocess.run(ruff, input=text, stdout=subprocess.PIPE, check=True, text=True).stdout


if __name__ == "__main__":
    SYNC.write_text(generated(), encoding="utf-8")
