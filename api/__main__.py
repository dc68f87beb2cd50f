"""`python -m api`: the front door as a process."""

from __future__ import annotations

import uvicorn

from api.app import create_app
from retinue.logs import configure
from retinue.process import leave
from retinue.settings import RetinueSettings, load_environment


def main() -> None:
    """Serve until SIGTERM or SIGINT. Never returns."""
    load_environment()
    settings = RetinueSettings()
    configure(settings.log_level)
    uvicorn.run(
        create_app(),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    leave(0)


if __name__ == "__main__":
    main()
