"""Runs the server: `python -m offline --host 127.0.0.1 --port 8089`."""

import argparse

import uvicorn

from offline.app import create_app


def main() -> None:
    """Read the address from the command line and serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m offline", description="A rule-based, OpenAI-compatible server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8089)
    parser.add_argument("--log-level", default="warning")
    options = parser.parse_args()
    uvicorn.run(create_app(), host=options.host, port=options.port, log_level=options.log_level)


if __name__ == "__main__":
    main()
