"""The `ETag` of a list: a digest of the answer, since nothing cheaper detects all changes.

It saves the transfer, not the calls to Temporal. Browsers do not cache our answers: a client that wants only changes
stores the last list and its tag.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Header, Response
from pydantic import BaseModel

UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Not modified since `If-None-Match`."}}


class ListETag:
    """The caller's version of a list."""

    def __init__(
        self,
        if_none_match: Annotated[str | None, Header(description="the `ETag` of an earlier answer")] = None,
    ) -> None:
        self._tag = if_none_match

    def or_else(self, listed: BaseModel) -> Response:
        """Return the list, or 304 if the caller has it."""
        body = listed.model_dump_json(by_alias=True).encode()
        headers = {"ETag": f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'}
        if matches(headers["ETag"], self._tag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)


ListVersion = Annotated[ListETag, Depends(ListETag)]


def matches(tag_now: str, if_none_match: str | None) -> bool:
    """Return whether a reader has the version with this tag."""
    return tag_now in [known.strip() for known in (if_none_match or "").split(",")]
