"""What is promised, and which tests try to break it. `tests/security/README.md` says more of S1 to S24."""

from __future__ import annotations

from dataclasses import dataclass

CHAOS = "chaos"
"""Stands for `chaos.py`, which is no test of pytest."""


@dataclass(frozen=True)
class Guarantee:
    """One promise.

    Args:
        id: R for faults, S for attacks.
        fault: What is done to the stack.
        promise: What holds all the same.
        tests: Files, folders or single tests that show it.
        short: Those of them that `--short` runs too.
    """

    id: str
    fault: str
    promise: str
    tests: tuple[str, ...]
    short: tuple[str, ...] = ()


GUARANTEES = (
    Guarantee(
        "R1",
        "`kill -9` of every process, one after the other, under load",
        "every acknowledged run ends; each effect stands once",
        (CHAOS, "tests/faults/test_kills.py", "tests/workers/test_children.py"),
        (CHAOS,),
    ),
    Guarantee(
        "R2",
        "a worker dies right after an effect, at every tool that has one",
        "the effect stands once",
        (
            "tests/faults/test_kills.py::test_a_worker_killed_after_each_effect_repeats_none",
            "tests/faults/test_kills.py::test_without_the_ledger_the_same_kill_duplicates",
            "tests/faults/test_mail_sending.py",
            "tests/faults/test_google_effects.py",
            "tests/retinue/test_ledger.py",
        ),
        ("tests/retinue/test_ledger.py",),
    ),
    Guarantee(
        "R3",
        "a process freezes, others finish its work, it wakes up",
        "its late effect is refused",
        (
            CHAOS,
            "tests/faults/test_mail_sending.py::test_thirty_workers_that_freeze_and_wake_up_again_send_no_mail_twice",
        ),
        (CHAOS,),
    ),
    Guarantee(
        "R4",
        "`kill -9` of the Temporal server under load",
        "no acknowledged run is lost; the API says 503 meanwhile",
        (
            CHAOS,
            "tests/faults/test_acknowledged.py",
            "tests/faults/test_kills.py::test_runs_survive_the_death_of_the_temporal_server",
            "tests/api/events/test_outages.py",
        ),
        (CHAOS,),
    ),
    Guarantee(
        "R5",
        "connections to Temporal are refused, reset, or silent for seconds",
        "nothing is lost or doubled",
        (CHAOS,),
        (CHAOS,),
    ),
    Guarantee(
        "R6",
        "a database is locked, read-only, full, deleted or replaced",
        "the step waits in words; nothing counts as done without its row",
        ("tests/faults/test_database_files.py", "tests/retinue/test_store_files.py", "tests/retinue/test_store.py"),
        ("tests/retinue/test_store_files.py",),
    ),
    Guarantee(
        "R7",
        "no worker for a capability",
        "the view says so within ten seconds; other branches go on; the step runs when one comes",
        (
            "tests/workflows/test_registry.py",
            "tests/faults/test_kills.py::test_a_missing_planner_is_seen_and_waited_for",
            "tests/workflows/test_waiting.py",
        ),
        ("tests/workflows/test_registry.py",),
    ),
    Guarantee(
        "R8",
        "the same request fifty times, after its end, after a restart, with another body",
        "one run, one answer, or a clear refusal",
        ("tests/api/idempotency/test_keys.py",),
        ("tests/api/idempotency/test_keys.py",),
    ),
    Guarantee(
        "R9",
        "decisions that are double, late, foreign, changed or of the wrong type",
        "exactly one counts; the others are refused with a reason",
        ("tests/scenarios/test_plain_updates.py", "tests/scenarios/test_consent.py", "tests/scenarios/test_people.py"),
        ("tests/scenarios/test_plain_updates.py",),
    ),
    Guarantee(
        "R10",
        "two things at the same moment: approve and cancel, edit and approve, two votes",
        "one happens, and the view says which",
        ("tests/scenarios/test_races.py",),
        (
            "tests/scenarios/test_races.py::test_of_twenty_approvals_at_once_one_counts",
            "tests/scenarios/test_races.py::test_approve_and_cancel_have_one_outcome",
        ),
    ),
    Guarantee(
        "R11",
        "a language model that hangs, lies, breaks off, refuses, or answers anything",
        "a bounded number of requests, then words for the person",
        ("tests/activities/reasoning/test_model_faults.py", "tests/activities/reasoning/test_bad_endpoints.py"),
        ("tests/activities/reasoning/test_bad_endpoints.py",),
    ),
    Guarantee(
        "R12",
        "payloads of megabytes, everywhere",
        "refused by the API, cut with a mark, or kept outside the history; no run gets stuck",
        ("tests/api/limits/test_limits.py", "tests/retinue/test_blobs.py"),
        ("tests/api/limits/test_limits.py",),
    ),
    Guarantee(
        "R13",
        "hundreds of messages and decisions while a chat continues as new runs",
        "all of them are there, each once",
        ("tests/scenarios/test_long_runs.py",),
    ),
    Guarantee(
        "R14",
        "new code under waiting runs",
        "every recorded history replays; runs stay on their version",
        ("tests/replay/test_replay.py", "tests/deploy/test_rolling.py", "tests/deploy/test_versions.py"),
        ("tests/replay/test_replay.py",),
    ),
    Guarantee(
        "R15",
        "one capability fails always",
        "what depends on it is skipped, the rest is done, the attempts end",
        ("tests/scenarios/test_plans.py",),
        ("tests/scenarios/test_plans.py::test_a_failed_step_is_planned_anew_with_what_is_done_kept",),
    ),
    Guarantee(
        "R16",
        "clock changes, zones, long waits, other days",
        "reminders and schedules come at the right local time, each once",
        (
            "tests/workflows/test_times.py",
            "tests/activities/tasks/test_repeating.py",
            "tests/activities/tasks/test_channels.py",
            "tests/offline/test_dates.py",
        ),
        ("tests/activities/tasks/test_repeating.py",),
    ),
    Guarantee(
        "R18",
        "two attempts of an effect and the end of their run, decisions, announcements: in every order",
        "the effect happens once; one decision counts; the newest version stays",
        ("tests/prove/test_interleavings.py",),
        ("tests/prove/test_interleavings.py",),
    ),
    Guarantee(
        "S1 to S10",
        "strangers' orders in mails, events, pages and results; a model that obeys each",
        "nothing happens that the person did not want; cards are true; costs are bounded",
        (
            "tests/security/test_worst_case.py",
            "tests/security/test_forgery.py",
            "tests/security/test_limits.py",
            "tests/scenarios/test_strangers_words.py",
            "tests/activities/memory/test_in_a_plan.py",
        ),
        ("tests/security/test_forgery.py",),
    ),
    Guarantee(
        "S11",
        "tokens that are forged, expired, foreign or malformed",
        "401",
        ("tests/api/auth/test_tokens.py",),
        ("tests/api/auth/test_tokens.py",),
    ),
    Guarantee(
        "S12, S13",
        "other people's ids, more fields than belong there",
        "as if it did not exist; refused",
        ("tests/api/tenancy", "tests/databases/test_people.py"),
        ("tests/api/tenancy/test_isolation.py",),
    ),
    Guarantee(
        "S14, S15",
        "other sites' pages and forms; markup in every text",
        "no decision; text stays text",
        ("tests/api/browser", "tests/api/auth/test_reading.py", "tests/console/test_safety.py"),
        ("tests/api/auth/test_reading.py",),
    ),
    Guarantee(
        "S16",
        "addresses that lead to this machine or its network in any form",
        "nothing is connected to",
        ("tests/retinue/test_egress.py", "tests/accounts/test_rebinding.py"),
        ("tests/retinue/test_egress.py",),
    ),
    Guarantee(
        "S17",
        "somebody reaches Temporal past the API",
        "decides, starts and announces nothing without the key",
        ("tests/security/backdoor",),
        ("tests/security/backdoor/test_decisions.py",),
    ),
    Guarantee(
        "S18",
        "bombs: bodies, nesting, headers, compressed files",
        "400 or 413, and the next request is served",
        ("tests/api/limits", "tests/api/test_bad_input.py"),
        ("tests/api/limits",),
    ),
    Guarantee(
        "S19, S20",
        "canaries in keys, mails, notes and errors; keys rotated, missing and wrong",
        "nothing readable in Temporal, logs or metrics",
        ("tests/security/encryption",),
        ("tests/security/encryption/test_codec.py",),
    ),
    Guarantee(
        "S21",
        "strangers at the codec server",
        "401 or 403",
        ("tests/security/encryption/test_codec_server.py",),
        ("tests/security/encryption/test_codec_server.py",),
    ),
    Guarantee(
        "S22",
        "requests by schemathesis, valid and not",
        "the API does what openapi.json says",
        ("tests/api/fuzz", "tests/api/auth/test_document.py"),
        ("tests/api/auth/test_document.py",),
    ),
    Guarantee(
        "S23",
        "idempotency keys that are huge, broken or somebody else's",
        "refused, or independent",
        ("tests/api/idempotency/test_keys.py", "tests/api/test_bad_input.py"),
        ("tests/api/idempotency/test_keys.py",),
    ),
    Guarantee(
        "S24",
        "ports reached from elsewhere",
        "loopback by default",
        ("tests/api/auth/test_alone.py", "tests/deploy/test_compose.py"),
        ("tests/api/auth/test_alone.py",),
    ),
    Guarantee(
        "S25",
        "packages that are not the locked ones",
        "every image installs by hash what its part imports, and no more",
        ("tests/test_independence.py",),
    ),
)
NOT_TRIED = (
    "power loss: `kill -9` keeps what the kernel has in its cache",
    "a soak of hours (R17)",
    "networks between machines: all connections here are on loopback",
    "Google and Microsoft themselves: emulators and servers of our own stand in their place",
    "an advisory database for packages (S25)",
)
