"""Runs that the tests of traces and metrics look at."""

from __future__ import annotations

from typing import Any

from tests.local_stack import LocalStack, wait_until


def carried_out(stack: LocalStack, view: dict[str, Any]) -> dict[str, Any]:
    """Wait for the approval, approve, and wait for the end."""

    def now() -> dict[str, Any]:
        found: dict[str, Any] = stack.http.get(f"/v1/assistants/{view['id']}").json()
        return found

    def log() -> str:
        return "".join(file.read_text()[-1500:] for file in (stack.data / "logs").glob("[!t]*.log"))

    try:
        wait_until(lambda: now()["status"] not in ("planning", "running"), what="the approval")
        assert now()["status"] == "awaiting_approval"
    except AssertionError:
        raise AssertionError(f"{now()} {log()}") from None
    stack.approve_by_api(now())
    wait_until(lambda: now()["status"] == "completed", what="the end")
    return now()
