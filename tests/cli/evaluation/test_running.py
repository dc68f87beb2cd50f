"""`retinue eval` on the real stack, with the offline model: a case that is done, one that must fail, one with everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.evaluation.running import model_variables
from cli.local import workers_environment
from retinue.settings import ROOT

CASES = """\
- id: right
  area: email
  request: Email Ana Sousa that I will be late tomorrow
  world:
    contacts: [{name: Ana Sousa, email: ana@example.com}]
    mails: [{from: Bo <bo@example.com>, subject: Hello, text: Shall we meet}]
    tasks: [{title: Buy bread}, {title: Call mum, remind_at: thursday 10:00}]
    events: [{title: Staff meeting, start: tomorrow 10:00}]
  expect:
    added:
      - mail: {folder: sent, to: [ana@example.com], text: {has: late tomorrow}}
    approvals: 1
- id: must-fail
  area: tasks
  request: Add milk to my to-do list
  expect:
    added:
      - task: {title: bread}
- id: outside
  area: weather
  request: What's the weather in Oslo on Thursday?
  world:
    weather: {Oslo: {thursday: {rain: 9.5, min: 2, max: 7}}}
  expect:
    reply: {has: ["9.5", "{day thursday}"]}
- id: no-world
  area: calendar
  request: What do I have tomorrow?
  world:
    calls: [{calendar.create_event: {title: Tea}}]
  expect: {}
"""


@pytest.mark.timeout(400)
def test_an_evaluation_tells_what_was_done_and_what_was_not(tmp_path: Path) -> None:
    cases, report, page = tmp_path / "cases.yaml", tmp_path / "report.json", tmp_path / "report.html"
    cases.write_text(CASES)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli", "eval", str(cases), "--json", str(report), "--html", str(page)],
        cwd=ROOT,
        env=workers_environment(os.environ),
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = {result["id"]: result for result in json.loads(report.read_text())["results"]}
    attempts = {name: result["attempts"][0] for name, result in results.items()}
    flaws = {name: [one["flaw"] for one in attempt.get("findings", [])] for name, attempt in attempts.items()}
    assert flaws == {"right": [], "must-fail": ["wrong value"], "outside": [], "no-world": ["error"]}
    assert "milk" in attempts["must-fail"]["findings"][0]["says"]
    assert "its world could not be made: " in attempts["no-world"]["findings"][0]["says"]
    assert "start" in attempts["no-world"]["findings"][0]["says"]
    assert attempts["right"]["approvals"] == 1
    for used in (attempts[name] for name in ("right", "must-fail", "outside")):
        assert 0 < used["tokens"] == sum(used["phases"].values())
    assert "must-fail" in page.read_text()
    assert "tasks done" in done.stdout


def test_the_model_is_chosen_by_options_and_its_key_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "REASONING_", "RETINUE_MODEL"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("REASONING_PRICE_INPUT", "2")
    monkeypatch.setenv("REASONING_DATABASE_URL", "sqlite+aiosqlite:///mine.db")
    assert model_variables(None, None) == {}
    assert model_variables("some-model", "http://127.0.0.1:8080/v1") == {
        "OPENAI_API_KEY": "sk-1",
        "REASONING_PRICE_INPUT": "2",
        "RETINUE_MODEL": "some-model",
        "OPENAI_BASE_URL": "http://127.0.0.1:8080/v1",
    }
    monkeypatch.delenv("OPENAI_API_KEY")
    assert model_variables("some-model", None)["OPENAI_API_KEY"] == "none"
