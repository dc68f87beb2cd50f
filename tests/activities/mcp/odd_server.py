"""A server over stdio that says whatever it was told: what it lists, and what its tools answer, stand in a file."""

import json
import sys
from pathlib import Path

said = json.loads(Path(sys.argv[1]).read_text())
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answers = {
        "initialize": {
            "protocolVersion": asked.get("params", {}).get("protocolVersion"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        },
        "tools/list": {"tools": said["tools"]},
        "tools/call": {"content": [], "structuredContent": said.get("answer")},
        "ping": {},
    }
    known = answers.get(asked["method"])
    answer = {"error": {"code": -32601, "message": "no"}} if known is None else {"result": known}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)  # noqa: T201  # it speaks so
