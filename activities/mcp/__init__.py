"""Any MCP server as a capability, by configuration alone.

This folder is no capability itself: each server in the configuration is one, with its own name, queue, store and worker,
and all of them run this code.
"""
