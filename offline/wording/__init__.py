"""Writes plain English from what tools returned: final answers and the texts of mails.

Only what a result says is written. Nothing is claimed that did not complete, and simulated values are called so.
"""
