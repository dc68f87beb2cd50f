"""Shared code that every other package imports.

It contains the types of capabilities, tools, manifests and plans, the errors, settings, the connection to Temporal and the
effect ledger. It imports no other package of Retinue.
"""
