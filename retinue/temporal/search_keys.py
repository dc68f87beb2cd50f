"""The search attributes as typed keys. Apart from their names, since this imports Temporal's SDK, which is heavy."""

from temporalio.common import SearchAttributeKey

from retinue.temporal import search_attributes as names

STATUS = SearchAttributeKey.for_keyword(names.STATUS)
OWNER = SearchAttributeKey.for_keyword(names.OWNER)
TENANT = SearchAttributeKey.for_keyword(names.TENANT)
PENDING_APPROVALS = SearchAttributeKey.for_int(names.PENDING_APPROVALS)
APPROVERS = SearchAttributeKey.for_keyword_list(names.APPROVERS)
