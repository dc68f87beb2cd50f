"""The web console: chat, progress, approvals.

Server-rendered, served by the API process, and a client of the public API like any other: it imports only
`retinue.client`. Its content may be written by strangers or models, so every value is escaped text.
"""
