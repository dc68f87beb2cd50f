"""Runs the server: `python -m offline --host 127.0.0.1 --port 8089`."""

import argparse
import signal
import sys

import uvicorn

from offline.app import create_app


def main() -> None:
    """Read the address from the command line and serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m offline", description="A rule-based, OpenAI-compatible server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--log-level", default="warning")
    options = parser.parse_args()
    server = uvicorn.Server(
        uvicorn.Config(create_app(), host=options.host, port=options.port, log_level=options.log_level)
    )
    # uvicorn raises the signal again after it has stopped: to this handler, so that a clean stop is no failure
    signal.signal(signal.SIGTERM, server.handle_exit)
    server.run()
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main()
