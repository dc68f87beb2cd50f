"""Shared by several protocols: summaries of runs, conversations by a client's history."""
