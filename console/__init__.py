"""The page where people talk, watch and decide.

Server-rendered, served by the front door, and a client of its public API like any other: it knows `retinue.client` and
nothing else of the house. What it shows may have been written by strangers or models, so everything is text.
"""
