"""Runs the accounts service, and manages its keys.

python -P -m accounts             serve until stopped
python -P -m accounts keys        print the keys of callers: RETINUE_ACCOUNTS_KEY of each, RETINUE_ACCOUNTS_PASS_KEYS
python -P -m accounts rotate      put a new key first in the key file, and seal all secrets under it
python -P -m accounts reseal      seal all secrets under the first key, after another was put first in a variable
python -P -m accounts new-key     begin a new key file where the old one is lost for good
python -P -m accounts lost        list the accounts whose key is missing
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from accounts.sealing import Sealer, key_of
from accounts.settings import AccountsServiceSettings
from retinue.errors import RetinueError
from retinue.settings import RetinueSettings, load_environment
from retinue.store import Store

_NOT_STARTED = 3
_TICKS = 10
Result = TypeVar("Result")


def serve() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    import uvicorn

    from accounts.app import create_app
    from retinue.database.file_watch import lost
    from retinue.runtime.logs import be_discreet, configure
    from retinue.runtime.process import DATABASE_LOST

    class Server(uvicorn.Server):
        """A server that exits when its database file was deleted or replaced: the next process opens the current one."""

        async def on_tick(self, counter: int) -> bool:
            return bool(counter % _TICKS == 0 and lost()) or await super().on_tick(counter)

    settings = AccountsServiceSettings()
    shared = RetinueSettings()
    configure(shared.log_level, shared.log_format)
    be_discreet()
    server = Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.accounts_host,
            port=settings.accounts_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
    )
    # uvicorn raises the signal again after it has stopped: to this handler, so that a clean stop is no failure
    signal.signal(signal.SIGTERM, server.handle_exit)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        return _NOT_STARTED
    return 0 if server.should_exit else DATABASE_LOST


def keys() -> int:
    """Print the keys of callers."""
    from retinue.accounts.caller_keys import CAPABILITIES, bearer_of, bearer_of_people, pass_keys

    root = AccountsServiceSettings().root_keys()
    lines = [
        "# RETINUE_ACCOUNTS_KEY of the API and of each capability's worker; in containers under these names in `.env`.",
        f"RETINUE_ACCOUNTS_KEY_API={bearer_of_people(root)}",
        *(f"RETINUE_ACCOUNTS_KEY_{name.upper()}={bearer_of(name, root)}" for name in CAPABILITIES),
        "# For the workflow workers.",
        f"RETINUE_ACCOUNTS_PASS_KEYS={pass_keys(root)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def rotate(*, new: bool = True) -> int:
    """Seal all secrets under a new key, or under the present first one."""
    from accounts.services.lost_keys import reseal

    settings = AccountsServiceSettings()
    sealer = Sealer(settings.seal_keys())
    if sealer.keys.ring() is None:
        raise NoKey(sealer.keys.problem() or "there is no key")
    if new:
        sealer.keys.add()
    done, lost = _on_store(settings, lambda store: reseal(store, sealer))
    sys.stdout.write(f"{done} secrets were sealed under the first key; {lost} cannot be read\n")
    sys.stdout.write("keep the older keys as long as you keep backups that were made before\n")
    return 0 if not lost else 1


def new_key() -> int:
    """Begin a new key file where the old one is lost; never overwrite one."""
    settings = AccountsServiceSettings()
    source = settings.seal_keys()
    if not source.is_file:
        raise NoKey("the keys are set by a variable")
    if source.file.exists():
        raise NoKey(f"{source.file} is there and is kept; `rotate` puts a new key first in it")
    lost()
    source.add()
    sys.stdout.write(f"a new key is in {source.file}; the accounts above must be connected again\n")
    return 0


def lost() -> int:
    """List the accounts whose key is missing."""
    from accounts.services.lost_keys import accounts_without_key

    settings = AccountsServiceSettings()
    sealer = Sealer(settings.seal_keys())
    found = _on_store(settings, lambda store: accounts_without_key(store, sealer))
    for one in found:
        sys.stdout.write(f"{one.person}: {one.name} ({one.provider_id}), sealed under the key {key_of(one.sealed)}\n")
    if not found:
        sys.stdout.write("no account has lost its key\n")
    return 1 if found else 0


class NoKey(Exception):
    """A command cannot go on without a key; the message says what to do."""


def _on_store(settings: AccountsServiceSettings, work: Callable[[Store], Awaitable[Result]]) -> Result:
    from accounts.app import open_store

    async def run() -> Result:
        async with open_store(settings) as store:
            return await work(store)

    return asyncio.run(run())


_COMMANDS = {
    "serve": serve,
    "keys": keys,
    "rotate": rotate,
    "reseal": lambda: rotate(new=False),
    "new-key": new_key,
    "lost": lost,
}


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code."""
    load_environment()
    command = _COMMANDS.get(arguments[0] if arguments else "serve")
    if command is None or len(arguments) > 1:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        return command()
    except (NoKey, ValueError) as problem:
        sys.stderr.write(f"accounts: {problem}\n")
        return 2
    except RetinueError as problem:
        sys.stderr.write(f"accounts: {problem.message}{f' ({problem.hint})' if problem.hint else ''}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
