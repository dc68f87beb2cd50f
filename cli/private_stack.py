"""A private stack: free ports, a temporary data folder, no settings from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from cli.connection import client_of
from cli.exits import CommandError
from cli.local import workers_command, workers_environment
from retinue.client import ClientError
from retinue.settings import ROOT

READY_WAIT = 600.0
"""Time limit in seconds for a living stack to get ready; a busy machine is slow."""
_STOP_WAIT = 20.0
_IMPORT_WAIT = 300.0
_ANSWER = 10.0
_LOG_LINES = 30
_NEUTRAL = {"TEMPORAL_NAMESPACE": "default", "TEMPORAL_TLS": "false"}
"""Variables whose empty value Temporal does not treat as unset."""


@dataclass(frozen=True)
class PrivateStack:
    """A running stack."""

    url: str
    data: Path
    log: Path
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]

    def await_ready(self) -> None:
        """Wait until the stack is ready.

        Raises:
            CommandError: It ended, or took longer than ten minutes; the message has the end of its log.
        """
        client = client_of(self.url, api_key="", timeout=_ANSWER)
        deadline = time.monotonic() + READY_WAIT
        why = ""
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                client.readiness()
            except ClientError as error:
                why = str(error)
                time.sleep(0.2)
            else:
                return
        raise CommandError(f"the stack did not get ready: {why}\n{self.end_of_logs()}")

    def import_files(self, capability: str, files: list[Path]) -> None:
        """Import files into a capability's store.

        Raises:
            CommandError: The import failed, or took too long.
        """
        command = workers_command("import", capability, *map(str, files))
        try:
            subprocess.run(
                command,
                cwd=ROOT,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=_IMPORT_WAIT,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise CommandError(f"the import into {capability} failed:\n{error.stdout}{error.stderr}") from None
        except subprocess.TimeoutExpired:
            raise CommandError(f"the import into {capability} did not end in {_IMPORT_WAIT:.0f} s") from None

    def deaths(self, worker: str) -> int:
        """Return how often a worker was killed, from the supervisor's log."""
        killed = f"{worker} ended (exit code -{signal.SIGKILL.value})"
        return self.log.read_text(encoding="utf-8", errors="replace").count(killed)

    def end_of_logs(self) -> str:
        """Return the last lines of the supervisor's log and of every process with warnings or errors."""
        files = [self.log, *sorted((self.data / "logs").glob("*.log"))]
        return "\n".join(f"--- {file.name}\n{_tail(file)}" for file in files if _tail(file))

    def stop(self) -> None:
        """Drain it like Ctrl-C; kill remaining processes after a while."""
        if self.process.poll() is None:
            _signal_group(self.process, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_WAIT)
        _signal_group(self.process, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def private_stack(*, keep: bool, prefix: str = "retinue-demo-", **variables: str) -> Iterator[PrivateStack]:
    """Start a stack with `variables`; at the end stop it and, unless `keep`, remove its folder."""
    data = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        stack = _started(data, variables)
        try:
            yield stack
        finally:
            stack.stop()
    finally:
        if not keep:
            shutil.rmtree(data, ignore_errors=True)


def _started(data: Path, variables: Mapping[str, str]) -> PrivateStack:
    port, temporal_port, ui_port = _free_ports(3)
    own = {
        "RETINUE_DATA_DIR": str(data),
        "RETINUE_HOST": "127.0.0.1",
        "RETINUE_PORT": str(port),
        "RETINUE_TEMPORAL_PORT": str(temporal_port),
        "RETINUE_TEMPORAL_UI_PORT": str(ui_port),
    }
    environment = workers_environment({**isolated(os.environ), **own, **variables})
    log = data / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            workers_command("up"),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return PrivateStack(f"http://127.0.0.1:{port}", data, log, process, environment)


def isolated(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without Retinue's variables, neither set directly nor in the `.env` file.

    Variables in `.env` are set to empty, since every process reads that file for unset ones.
    """
    kept = {name: value for name, value in environment.items() if not _configures(name)}
    in_file = filter(_configures, dotenv_values(ROOT / ".env", interpolate=False))
    return {**kept, **{name: _NEUTRAL.get(name, "") for name in in_file}}


def _configures(name: str) -> bool:
    rooms = [folder.name for folder in (ROOT / "activities").iterdir() if folder.is_dir()]
    return name.startswith(tuple(f"{prefix.upper()}_" for prefix in ("retinue", "api", "temporal", "openai", *rooms)))


def _free_ports(count: int) -> list[int]:
    """Return different ports that are free at this moment."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _tail(file: Path) -> str:
    try:
        return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
    except OSError:
        return ""
