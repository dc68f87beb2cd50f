"""Writes plain English from what tools returned: final answers and the texts of mails.

It writes only what a result contains: nothing is claimed that did not complete, and simulated values are marked.
"""
