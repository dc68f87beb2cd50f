"""`python -m api`: the API as a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.deps import AppState
from retinue.database.file_watch import lost
from retinue.errors import InvalidArguments
from retinue.runtime import tracing
from retinue.runtime.logs import configure
from retinue.runtime.process import DATABASE_LOST, leave
from retinue.runtime.watchdog import LoopCheck, Watchdog
from retinue.settings import RetinueSettings, load_environment

_NOT_STARTED = 3
"""uvicorn's exit code when the port is in use."""


_TICKS = 10
"""Ticks of 0.1 s between two checks that the database file still exists."""
_log = logging.getLogger("retinue.api")


class ApiServer(uvicorn.Server):
    """A server that closes its event streams before it waits for open requests: streams last for minutes.

    It also exits when its database file was deleted or replaced, so that the next process opens the current file. A
    watchdog exits the process when its event loop is stuck.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, with a watchdog."""
        Watchdog([LoopCheck(asyncio.get_running_loop())], RetinueSettings().liveness_file).start()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to exit."""
        if counter % _TICKS == 0 and (problem := lost()):
            _log.error("%s; the API exits, so that a new process starts", problem)
            return True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the event streams, so that readers resume at another process; finish the other requests."""
        house = getattr(self.config.app.state, "house", None) if isinstance(self.config.app, FastAPI) else None
        if isinstance(house, AppState):
            await house.broadcasters.close()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until SIGTERM or SIGINT. Never return."""
    load_environment()
    settings = RetinueSettings()
    configure(settings.log_level, settings.log_format)
    tracing.start("retinue-api")
    server = ApiServer(
        uvicorn.Config(
            _app(),
            host=settings.host,
            port=_port(settings),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
    )
    # uvicorn raises the signal again after it has drained: to this handler, so that a clean stop is no failure
    signal.signal(signal.SIGTERM, server.handle_exit)
    with contextlib.suppress(KeyboardInterrupt):  # raised again after it has drained
        server.run()
    leave(_exit_code(server))


def _port(settings: RetinueSettings) -> int:
    """Return the port to listen on: the one that the platform names on Cloud Run and Knative, which `K_SERVICE` tells."""
    named = os.environ.get("PORT") if os.environ.get("K_SERVICE") else None
    return int(named or settings.port)


def _exit_code(server: uvicorn.Server) -> int:
    if not server.started:
        return _NOT_STARTED
    return 0 if server.should_exit else DATABASE_LOST


def _app() -> FastAPI:
    try:
        return create_app()
    except InvalidArguments as refused:
        sys.stderr.write(f"the API does not start: {refused.message}\n{refused.hint}\n")
        leave(2)


if __name__ == "__main__":
    main()
