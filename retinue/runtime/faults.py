"""Fault injection for tests: `RETINUE_FAULT` names a moment at which a capability's worker dies.

`after_effect:<capability>`: between an effect and its report. `before_receipt:<capability>`: between an effect at an
outer service and its record.
"""

import os
import signal


def after_effect(capability: str) -> None:
    """Die like `kill -9` if the environment asks for it. Call it right after an effect was committed, never in replays."""
    _die_at(f"after_effect:{capability}")


def before_receipt(capability: str) -> None:
    """Die like `kill -9` if the environment asks for it. Call it after an outer service has acted, before the record."""
    _die_at(f"before_receipt:{capability}")


def _die_at(moment: str) -> None:
    if os.environ.get("RETINUE_FAULT") == moment:
        os.kill(os.getpid(), signal.SIGKILL)
