"""Any A2A agent elsewhere as a capability, by configuration alone.

This folder is no capability itself: each agent in the configuration is one, with its own name, queue, store and worker,
and all of them run this code.
"""
