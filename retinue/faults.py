"""Faults on purpose, for tests: `RETINUE_FAULT=after_effect:<capability>` kills the worker between effect and report."""

import os
import signal


def after_effect(capability: str) -> None:
    """Die like `kill -9` if the environment asks for it. Called right after an effect was committed, never for replays."""
    if os.environ.get("RETINUE_FAULT") == f"after_effect:{capability}":
        os.kill(os.getpid(), signal.SIGKILL)
