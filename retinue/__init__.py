"""The ground floor: what every room of Retinue stands on.

It holds the types of capabilities, tools, manifests and plans, the error tree, settings, the connection to Temporal
and the effect ledger. It knows no capability, no workflow and no route, and imports no other room.
"""
