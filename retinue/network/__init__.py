"""Calls to services outside, guarded, and why a connection failed."""
