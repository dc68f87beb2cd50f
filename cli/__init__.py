"""The `retinue` command: ask, watch, decide, look after a local stack.

It speaks to Retinue over its HTTP API only, as every other client does, and starts what belongs to the local stack as
separate processes. It knows no workflow, no store and no worker. Text that models or strangers wrote is shown as text:
neither terminal sequences nor markup in it have any effect.
"""
