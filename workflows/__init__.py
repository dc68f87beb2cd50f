"""Temporal workflows: plans with retries and approvals by people.

Modules here import contracts and `retinue`, never tools, stores, providers or settings. Code decides here what a run does;
what a model or a stranger wrote is data.
"""
