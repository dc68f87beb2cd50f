"""Runs the steps of a plan: activities, delegation, records, progress, unknown outcomes."""
