"""Search attributes by which lists and the inbox find runs. Nothing heavy is imported here: the supervisor reads it."""

SEARCH_ATTRIBUTES = {
    "RetinueStatus": "Keyword",
    "RetinueOwner": "Keyword",
    "RetinuePendingApprovals": "Int",
    "RetinueApprovers": "KeywordList",
}
"""Their names and kinds, in the words of Temporal's command line."""
