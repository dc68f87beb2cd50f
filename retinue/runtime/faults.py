"""Faults on purpose, for tests: `RETINUE_FAULT` names a moment and a capability, at which its worker dies.

`after_effect:<capability>`: between an effect and its report. `before_receipt:<capability>`: between an effect at an
outer service and the record of it.
"""

import os
import signal


def after_effect(capability: str) -> None:
    """Die like `kill -9` if the environment asks for it. Called right after an effect was committed, never for replays."""
    _die_at(f"after_effect:{capability}")


def before_receipt(capability: str) -> None:
    """Die like `kill -9` if the environment asks for it. Called when an outer service has acted, before that is recorded."""
    _die_at(f"before_receipt:{capability}")


def _die_at(moment: str) -> None:
    if os.environ.get("RETINUE_FAULT") == moment:
        os.kill(os.getpid(), signal.SIGKILL)
