"""The `ETag` of a list: a print of the answer itself, since nothing cheaper says that no line of it has changed.

It saves the way back and the reading: what is asked of Temporal to make the list is asked all the same. Browsers keep no
list, as they keep nothing of ours: who wants to be told only of changes keeps the last one and its tag.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Header, Response
from pydantic import BaseModel

UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The list is as the `If-None-Match` says."}}


class ListETag:
    """What the caller has of a list already."""

    def __init__(
        self,
        if_none_match: Annotated[
            str | None, Header(description="an `ETag` that was given with the list before")
        ] = None,
    ) -> None:
        self._tag = if_none_match

    def or_else(self, listed: BaseModel) -> Response:
        """The list, or that it is the one the caller has."""
        body = listed.model_dump_json(by_alias=True).encode()
        headers = {"ETag": f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'}
        if matches(headers["ETag"], self._tag):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)


ListVersion = Annotated[ListETag, Depends(ListETag)]


def matches(tag_now: str, if_none_match: str | None) -> bool:
    """Whether a reader has the version that has this tag."""
    return tag_now in [known.strip() for known in (if_none_match or "").split(",")]
