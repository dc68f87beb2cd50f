"""Contacts as Graph keeps them, as far as the public reference says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.activities.graph_account import Answer, Asked, Graph, GraphError, Json

_WRITTEN = {
    "displayName", "givenName", "surname", "nickName", "companyName", "emailAddresses", "mobilePhone", "businessPhones",
    "homePhones", "personalNotes", "singleValueExtendedProperties",
}  # fmt: skip
_MOST_ADDRESSES = 3


@dataclass
class MicrosoftContacts(Graph):
    """The first folder of contacts of one person."""

    def add(self, **fields: Any) -> str:
        """Enter somebody as another app does; returns the id."""
        if fields.keys() - _WRITTEN or len(fields.get("emailAddresses", [])) > _MOST_ADDRESSES:
            raise GraphError(400, "ErrorPropertyValidationFailure")
        id_ = f"AAkALgAAAA_{uuid4().hex}=="
        empty: Json = {
            "emailAddresses": [],
            "businessPhones": [],
            "homePhones": [],
            "mobilePhone": None,
            "personalNotes": "",
        }
        self.things[id_] = self.stamp({"id": id_, **empty, **fields})
        return id_

    def answer(self, asked: Asked) -> Answer:
        if 'IdType="ImmutableId"' not in asked.prefers:
            raise GraphError(400, "ErrorIdsOfOtherKinds")  # ids of both kinds would be mixed up
        match asked.method, asked.path.split("/"):
            case "POST", ["me", "contacts"]:
                return 201, self.shown(self.things[self.add(**asked.body)], asked.query)
            case "GET", ["me", "contacts"]:
                return self.paged(
                    asked, list(self.filtered(iter(self.things.values()), asked.query.get("$filter", "")))
                )
            case "GET", ["me", "contacts", id_]:
                return 200, self.shown(self.thing(asked, id_), asked.query)
            case "PATCH", ["me", "contacts", id_]:
                if asked.body.keys() - _WRITTEN:
                    raise GraphError(400, "ErrorPropertyValidationFailure")
                return 200, self.shown(self.patch(self.thing(asked, id_), asked.body), asked.query)
            case "DELETE", ["me", "contacts", id_]:
                del self.things[self.thing(asked, id_)["id"]]
                return 204, None
        raise GraphError(400, "BadRequest")
