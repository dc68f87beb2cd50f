"""Doors: protocols that people's tools speak already, all onto the same assistants, approvals, policies and ids.

A door recognises people by `api.deps.caller`, declares permissions and spends rates as every route does, and does its
work through `api.services.runs.Runs`. Large libraries are imported at a door's first request.
"""
