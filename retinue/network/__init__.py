"""Guarded calls to external services, and why a connection failed."""
