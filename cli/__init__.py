"""The `retinue` command: start assistants, watch them, decide, manage a local stack.

It uses only the HTTP API, like every other client, and starts the local stack as separate processes. It imports no
store and no worker. Text by models or strangers is printed without terminal sequences and markup.
"""
