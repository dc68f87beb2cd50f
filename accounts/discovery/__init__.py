"""Finds the servers of a mail address, and tests whether signing in there works.

Finding tells strangers no more than the domain: no password, and not the address. What is found is shown to the person, who
agrees before a password goes there. All requests go through the rules of `retinue.network.egress`.
"""
