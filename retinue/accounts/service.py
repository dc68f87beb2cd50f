"""Requests to the accounts service, for both of its sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from retinue import errors
from retinue.accounts.wire import Problem

_TIMEOUT = 30.0
_NAME = "the accounts service"
Shape = TypeVar("Shape", bound=BaseModel)


class AccountsService:
    """One HTTP client for the service; the caller closes it.

    Args:
        url: Of the service.
        key: The caller's own.
        transport: For tests.
    """

    def __init__(self, url: str, key: SecretStr, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._key = key
        self._client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, transport=transport, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(
        self,
        answer: type[Shape],
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Shape:
        """Send a request and return its answer.

        Raises:
            RetinueError: As the service says; `ServiceUnavailable` if it does not answer. No text contains a secret.
        """
        try:
            response = await self._client.request(
                method,
                path,
                content=body.model_dump_json() if body is not None else None,
                params=dict(params or {}),
                headers={
                    "Authorization": f"Bearer {self._key.get_secret_value()}",
                    "Content-Type": "application/json",
                    **(headers or {}),
                },
            )
        except httpx.HTTPError as error:
            raise errors.ServiceUnavailable(f"{_NAME} does not answer ({type(error).__name__})") from None
        if response.is_success:
            try:
                return answer.model_validate_json(response.content or b"{}")
            except ValidationError:
                raise errors.ServiceUnavailable(f"{_NAME} gave an answer of another version") from None
        raise _raised(response)


def _raised(response: httpx.Response) -> errors.RetinueError:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return errors.ServiceUnavailable(f"{_NAME} has an internal problem (HTTP {response.status_code})")
    kind = getattr(errors, problem.error, errors.ServiceUnavailable)
    if not (isinstance(kind, type) and issubclass(kind, errors.RetinueError)):
        kind = errors.ServiceUnavailable
    if issubclass(kind, errors.ServiceBusy):
        return errors.ServiceBusy(problem.message, retry_after=problem.retry_after or 60, hint=problem.hint)
    if issubclass(kind, errors.TooMany | errors.InProgress):
        return kind(problem.message, retry_after=int(problem.retry_after or 1), hint=problem.hint)
    error: errors.RetinueError = kind(problem.message, hint=problem.hint)
    if problem.account is not None:
        error.details = (problem.account,)
    return error
