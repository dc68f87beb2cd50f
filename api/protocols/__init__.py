"""Protocols of other clients onto the same assistants, approvals, policies and ids.

A protocol authenticates by `api.deps.caller`, declares permissions and rates like every route, and works through
`api.services.runs.Runs`. Large libraries are imported at the first request.
"""
