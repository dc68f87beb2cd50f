"""The HTTP client: one method per route, problem details as typed errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from cli.exits import Refused, Unreachable
from cli.views import Approval, Assistant

Answer = TypeVar("Answer", bound=BaseModel)
Result = TypeVar("Result")
PATIENCE = 60.0
"""Seconds for which a command that watches a run goes on while Retinue does not answer."""
_PAUSE = 0.5
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class RetinueClient:
    """Retinue's API at one address. Methods raise `Refused` or `Unreachable`."""

    def __init__(self, url: str, *, timeout: float = 20) -> None:
        self.url = url.rstrip("/")
        local = urlsplit(self.url).hostname in _LOOPBACK
        # A proxy that is meant for the outside world must not get to see requests to one's own machine.
        self._http = httpx.Client(timeout=httpx.Timeout(timeout, connect=3), trust_env=not local)

    def text(self, method: str, path: str, **request: Any) -> str:
        """Send a request and return the answer's body as it is."""
        try:
            response = self._http.request(method, f"{self.url}{path}", **request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise Unreachable(
                f"Retinue does not answer at {self.url}; start it with `bin/retinue up`, or name its address by --url",
                unsent=True,
            ) from None
        except httpx.TransportError as error:
            raise Unreachable(f"the connection to {self.url} broke: {type(error).__name__}") from None
        except httpx.InvalidURL:
            raise Unreachable(f"{self.url} is no address; use one like http://127.0.0.1:8000", unsent=True) from None
        if response.is_success:
            return response.text
        raise _problem(response, self.url)

    def get(self, model: type[Answer], path: str, **params: Any) -> Answer:
        """GET a resource."""
        return self.parsed(model, self.text("GET", path, params=_given(params)))

    def start_text(self, message: str, *, timezone: str | None, key: str, **options: Any) -> str:
        """Start an assistant. The same key never starts a second one."""
        return self.create_text("/v1/assistants", {"message": message, "timezone": timezone, **options}, key=key)

    def create_text(self, path: str, body: Mapping[str, Any], *, key: str) -> str:
        """POST something that must not come twice. The same key never does it again."""
        return self.text("POST", path, json=_given(body), headers={"Idempotency-Key": key})

    def assistant(self, run_id: str) -> Assistant:
        """Read a run."""
        return self.get(Assistant, run_path(run_id))

    def decide(
        self,
        run_id: str,
        approval: Approval,
        decision: str,
        *,
        args: Mapping[str, JsonValue] | None = None,
        comment: str | None = None,
        args_hash: str | None = None,
        grant: Mapping[str, JsonValue] | None = None,
    ) -> Assistant:
        """Decide an approval, bound to the arguments that were shown; with `grant` allow the like from now on."""
        shown = args_hash or approval.args_hash
        body = _given({"decision": decision, "args_hash": shown, "args": args, "comment": comment, "grant": grant})
        path = f"{run_path(run_id)}/approvals/{quote(approval.id, safe='')}"
        return self.parsed(Assistant, self.text("POST", path, json=body))

    def answer(self, run_id: str, text: str, *, question_id: str | None = None) -> Assistant:
        """Answer the assistant's question; `question_id` says which, so that no other one is answered."""
        body = _given({"message": text, "question_id": question_id})
        return self.parsed(Assistant, self.text("POST", f"{run_path(run_id)}/messages", json=body))

    def say_text(self, run_id: str, text: str, *, key: str) -> str:
        """Say the next thing. The same key is read once."""
        return self.create_text(f"{run_path(run_id)}/messages", {"message": text}, key=key)

    def cancel_text(self, run_id: str, *, undo: bool = False) -> str:
        """Stop a run, and with `undo` take back what is done."""
        return self.text("POST", f"{run_path(run_id)}/cancel", **({"json": {"undo": True}} if undo else {}))

    def parsed(self, model: type[Answer], text: str) -> Answer:
        """Read an answer.

        Raises:
            Refused: It is not what Retinue's API answers.
        """
        try:
            return model.model_validate_json(text)
        except ValidationError:
            raise Refused(
                f"{self.url} answered something that this command does not understand; is it Retinue's API?", status=200
            ) from None


def run_path(run_id: str) -> str:
    """Where a run is found."""
    return f"/v1/assistants/{quote(run_id, safe='')}"


def patiently(
    call: Callable[[], Result], *, on_wait: Callable[[str], None], seconds: float = PATIENCE, pause: float = _PAUSE
) -> Result:
    """Call until Retinue answers, telling `on_wait` why it takes long.

    Raises:
        Unreachable: It did not for `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Unreachable as error:
            if time.monotonic() > deadline:
                raise
            on_wait(str(error))
            time.sleep(pause)


def _problem(response: httpx.Response, url: str) -> Refused | Unreachable:
    detail = _detail(response) or f"{url} answered HTTP {response.status_code} without saying why"
    if response.status_code in (502, 503, 504):
        return Unreachable(detail)
    return Refused(detail, status=response.status_code)


def _detail(response: httpx.Response) -> str | None:
    try:
        body = response.json()
    except ValueError:
        return None
    detail = body.get("detail") if isinstance(body, dict) else None
    return detail if isinstance(detail, str) else None


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
