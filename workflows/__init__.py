"""The processes: plans with retries, approvals and people in the loop, as Temporal workflows.

Modules here import contracts and the ground floor, never tools, stores, providers or settings. What a run does is decided
here by code; what a model or a stranger wrote is data.
"""
