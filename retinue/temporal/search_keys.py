"""The search attributes as typed keys, in a separate module, since it imports Temporal's heavy SDK."""

from temporalio.common import SearchAttributeKey

from retinue.temporal import search_attributes as names

STATUS = SearchAttributeKey.for_keyword(names.STATUS)
OWNER = SearchAttributeKey.for_keyword(names.OWNER)
TENANT = SearchAttributeKey.for_keyword(names.TENANT)
PENDING_APPROVALS = SearchAttributeKey.for_int(names.PENDING_APPROVALS)
APPROVERS = SearchAttributeKey.for_keyword_list(names.APPROVERS)
