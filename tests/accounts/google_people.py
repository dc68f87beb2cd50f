"""Google's contacts on this machine, as far as Google's public reference of the People API v1 says; emulate has none."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.accounts.google_server import Json, Refused, json_server

_LISTS = {"names", "nicknames", "organizations", "emailAddresses", "phoneNumbers", "biographies", "clientData"}


@dataclass
class GooglePeople:
    """The contacts of one person, in memory."""

    people: dict[str, Json] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    """Entries that the list does not show yet."""
    url: str = ""
    changes: int = 0

    def put(self, **fields: Any) -> Json:
        """Enter somebody as another app does."""
        self.changes += 1
        name = f"people/c{self.changes}"
        self.people[name] = {**fields, "resourceName": name, "etag": f"%{self.changes}"}
        for each in fields.get("names", []):
            each.setdefault("displayName", each.get("unstructuredName", ""))
        return self.people[name]

    def answer(self, method: str, path: str, query: dict[str, str], body: Json, match: str) -> Json:
        """What Google says."""
        del match
        name, _, verb = path.removeprefix("/v1/").partition(":")
        if (method, name, verb) == ("POST", "people", "createContact"):
            if set(body) - _LISTS:
                raise Refused(400, "invalid", name="INVALID_ARGUMENT")
            return self._shown(self.put(**body), query["personFields"])
        if (method, name) == ("GET", "people/me/connections"):
            return self._listed(query)
        if name not in self.people:
            raise Refused(404, "notFound", name="NOT_FOUND")
        found = self.people[name]
        if method == "GET":
            return self._shown(found, query["personFields"])
        if (method, verb) == ("DELETE", "deleteContact"):
            del self.people[name]
            return {"empty": True}
        assert (method, verb) == ("PATCH", "updateContact"), (method, path)
        if body["etag"] != found["etag"]:
            raise Refused(400, "failedPrecondition", name="FAILED_PRECONDITION")
        wanted = query["updatePersonFields"].split(",")
        if set(wanted) - _LISTS:
            raise Refused(400, "invalid", name="INVALID_ARGUMENT")
        self.changes += 1
        found.update({each: body.get(each, []) for each in wanted}, etag=f"%{self.changes}")
        return self._shown(found, query.get("personFields", ",".join(wanted)))

    def _listed(self, query: dict[str, str]) -> Json:
        first, size = int(query.get("pageToken", 0)), int(query["pageSize"])
        people = [each for name, each in self.people.items() if name not in self.hidden]
        page = [self._shown(each, query["personFields"]) for each in people[first : first + size]]
        following = {"nextPageToken": str(first + size)} if first + size < len(people) else {}
        return {"connections": page, "totalPeople": len(people), **following}

    def _shown(self, person: Json, fields: str) -> Json:
        wanted = {"resourceName", "etag", *fields.split(",")}
        return copy.deepcopy({key: value for key, value in person.items() if key in wanted})


@contextmanager
def google_people() -> Iterator[GooglePeople]:
    """Open such an address book on a free port; its token is `token`."""
    people = GooglePeople()
    with json_server(people.answer) as people.url:
        yield people
