"""Doing the plan: activities, delegation, records, progress, failures, compensation."""
