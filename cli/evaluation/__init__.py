"""`retinue eval`: cases run over the real stack with a chosen model, and what came of them.

`cases` reads the YAML, `world` and `seeding` make what stands before, `person` asks and decides, `stores` and `judge` say what
came of it, `report` counts. Nothing here knows how a capability works inside: worlds are made by its tools and its import,
outcomes are read from its database.
"""
