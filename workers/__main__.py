"""`python -m workers`: one worker, the whole local stack, or an import into a capability's own store.

python -m workers workflows              the worker that advances the workflows
python -m workers calendar               one capability's worker
python -m workers calendar --check       build it, print what it would serve, and end
python -m workers up [--with NAME ..]    the whole local stack in the foreground; beside it radicale, observability
python -m workers import email [--person NAME] a.eml ..  put files into a capability's own store, for this person
python -m workers claim NAME [email ..]   give a person what was kept before people were told apart
python -m workers accept files [TOOL ..] accept an MCP server's changed tool descriptions; without TOOL, show them
python -m workers accept travel [card]   accept an A2A agent's changed card; without `card`, show it
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import activities
from retinue.errors import RetinueError
from retinue.runtime.process import leave
from retinue.settings import load_environment, name_only_person


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    load_environment()
    match arguments:
        case ["up", *options] if options[0::2] == ["--with"] * (len(options) // 2) and len(options) % 2 == 0:
            from workers import supervisor

            return supervisor.main(options[1::2])
        case ["import", name, "--person", person, *files] if files:
            return import_files(name, [Path(file) for file in files], person=person)
        case ["import", name, *files] if files:
            return import_files(name, [Path(file) for file in files])
        case ["claim", person, *names]:
            return claim(person, names)
        case ["accept", name, *tools]:
            return accept(name, tools)
        case [name, "--check"]:
            return check(name)
        case [name] if not name.startswith("-"):
            from workers import runner

            runner.main(name)
        case _:
            print(__doc__, file=sys.stderr)
    return 0 if arguments in (["--help"], ["-h"]) else 2


def accept(name: str, tools: list[str]) -> int:
    """Accept changed texts of an MCP server's tools or of an A2A agent, or show what changed."""
    try:
        module = activities.load(name)
        if not hasattr(module, "accept"):
            raise LookupError(f"{name} is neither an MCP server nor an A2A agent, so there is nothing to accept")
        print("\n".join(asyncio.run(module.accept(tools))))
    except (LookupError, RetinueError) as error:
        print(f"workers: {error.args[0]}", file=sys.stderr)
        return 2
    return 0


def check(name: str) -> int:
    """Build a worker without starting it, so that a missing part of an image fails here, with its trace."""
    from workers import check as checking

    try:
        print(checking.check(name))
    except LookupError as error:
        print(f"workers: {error.args[0]}", file=sys.stderr)
        return 2
    return 0


def claim(person: str, names: list[str]) -> int:
    """Give a person the rows from before people were told apart, of these capabilities or of all."""
    from workers import unclaimed

    failed = False
    for name in names or unclaimed.capabilities():
        try:
            print(f"{name}: {person} got {asyncio.run(unclaimed.claim(name, person))} rows")
        except (LookupError, RetinueError) as error:
            failed = True
            print(f"workers: {error.args[0]}", file=sys.stderr)
    return 1 if failed else 0


def import_files(name: str, files: list[Path], *, person: str = "") -> int:
    """Import each file into the store of capability `name`, for a person; prints the result of each."""
    name_only_person()
    try:
        module = activities.load(name)
        if not hasattr(module, "import_file"):
            raise LookupError(f"{name} imports no files")
    except LookupError as error:
        print(f"workers: {error.args[0]}", file=sys.stderr)
        return 2
    failed = False
    for file in files:
        try:
            print(f"{file.name}: {asyncio.run(module.import_file(file, person=person))}")
        except RetinueError as error:
            failed = True
            print(f"{file.name}: {error.message}", file=sys.stderr)
        except OSError as error:
            failed = True
            print(f"{file}: {error.strerror}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
