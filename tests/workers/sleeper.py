"""`python -m tests.workers.sleeper`: a process that does nothing but touch its file, until it is ended."""

import asyncio

from retinue.runtime.watchdog import LoopCheck, Watchdog
from retinue.settings import RetinueSettings


async def main() -> None:
    """Sleep, watched."""
    Watchdog([LoopCheck(asyncio.get_running_loop())], RetinueSettings().liveness_file).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
