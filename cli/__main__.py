"""`python -m cli`, which `bin/retinue` runs."""

from __future__ import annotations

import io
import sys

from cli.app import app
from retinue.settings import load_environment


def main() -> None:
    """Run the command line. A terminal that cannot show a character gets a mark in its place, not a traceback."""
    load_environment()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app(prog_name="retinue")


if __name__ == "__main__":
    main()
