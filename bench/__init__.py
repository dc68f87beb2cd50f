"""The product beside a bare hand-written workflow for the same job, in one interleaved run on one Temporal server.

`README.md` says what is compared and what the bare workflow leaves out. Nothing in the product knows of this room.
"""
