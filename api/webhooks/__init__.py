"""Webhooks: messages to people's programs when a run needs a person or ends."""
