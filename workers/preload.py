"""Imports everything heavy once, in the process that children are forked from.

All children share this memory. Nothing imported here may start a thread, a Temporal client or a runtime, since a fork
would copy it only partly.
"""

import gc
import importlib

import activities
from retinue.settings import encrypts

MODULES = [
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "accounts.app",
    "api.app",
    "offline.app",
    "workers.runner",
    "workflows.assistant",
    "workflows.registry",
    "workflows.reminder",
    *(f"activities.{name}.worker" for name in activities.folders()),
    *(["cryptography.hazmat.primitives.ciphers.aead"] if encrypts() else []),
]

for _module in MODULES:
    importlib.import_module(_module)
gc.collect()
gc.freeze()  # the collector would otherwise touch, and so copy, every shared page
