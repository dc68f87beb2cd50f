"""Search attributes with which lists and the inbox find runs. A light module, since the supervisor imports it."""

import re

STATUS = "RetinueStatus"
OWNER = "RetinueOwner"
TENANT = "RetinueTenant"
PENDING_APPROVALS = "RetinuePendingApprovals"
APPROVERS = "RetinueApprovers"
SEARCH_ATTRIBUTES = {
    STATUS: "Keyword",
    OWNER: "Keyword",
    TENANT: "Keyword",
    PENDING_APPROVALS: "Int",
    APPROVERS: "KeywordList",
}
"""Names and types, as on Temporal's command line. Without organisations runs have no `RetinueTenant`."""

_SAFE = re.compile(r"[A-Za-z0-9._@+~:*=%!-]{1,255}")


def is_exactly(attribute: str, value: str) -> str:
    """Return the search condition that an attribute has this value.

    Servers quote values differently (1.32 drops a character after a backslash and passes a double quote to SQLite's full
    text search), so values that need quoting are refused. Some servers also ignore case, so compare names again in the
    results.

    Raises:
        ValueError: The value has other characters than names have, or is too long.
    """
    if not _SAFE.fullmatch(value):
        raise ValueError(f"a search for {attribute} takes letters, digits and ._@+~:*=%!- only")
    return f"{attribute} = '{value}'"
