"""Search attributes by which lists and the inbox find runs. Nothing heavy is imported here: the supervisor reads it."""

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
"""Their names and kinds, in the words of Temporal's command line. `RetinueTenant` is absent where there is only one."""

_SAFE = re.compile(r"[A-Za-z0-9._@+~:*=%!-]{1,255}")


def is_exactly(attribute: str, value: str) -> str:
    """The search condition that an attribute has this value.

    Servers write values into their own queries in ways of their own (1.32 loses what a backslash stands before, and
    passes a double quote on to SQLite's full text search), so nothing is quoted here: what could need it is refused. Some
    also take no notice of upper and lower case: whoever lists by a name compares it again in what is found.

    Raises:
        ValueError: The value has other characters than names have, or is too long.
    """
    if not _SAFE.fullmatch(value):
        raise ValueError(f"a search for {attribute} takes letters, digits and ._@+~:*=%!- only")
    return f"{attribute} = '{value}'"
