"""Middleware of every HTTP request: sizes, rates, origin, headers. Knows no resource and no run."""
