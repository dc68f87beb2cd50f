"""Breaks one guarantee after the other and shows that a test turns red: `make mutations`, or by numbers `ARGS="3 17"`.

Each mutation replaces one text in one file of a copy of the checkout, and runs the tests that must notice it. One that
no test notices has survived: a test is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.checkout import copied

LONGEST = 600
"""Seconds for the tests of one mutation. A mutation that makes them hang is noticed too."""

LEDGER = (
    "tests/retinue/test_ledger.py",
    "tests/activities/tasks/test_tools.py",
    "tests/activities/email/test_sending.py",
)
POLICY = ("tests/workflows/test_policy.py",)
ORIGINS = (
    "tests/workflows/test_provenance.py",
    "tests/scenarios/test_strangers_words.py",
    "tests/api/rights/test_origins.py",
    "tests/api/rights/test_choices.py",
    "tests/scenarios/test_consent.py",
    "tests/scenarios/test_agents.py",
)
DECISIONS = (
    "tests/scenarios/test_plain_updates.py",
    "tests/scenarios/test_consent.py",
    "tests/scenarios/test_people.py",
    "tests/scenarios/test_inbox.py",
)
GRANTS = ("tests/workflows/test_person.py", "tests/workflows/test_standing.py", "tests/api/rights/test_grants.py")
ACCOUNTS = ("tests/scenarios/test_accounts.py",)
ACCOUNT_ROUTING = ("tests/accounts/test_routing.py",)
SIGNING_IN = (
    "tests/api/auth/test_tokens.py",
    "tests/api/auth/test_alone.py",
    "tests/api/rights/test_schedule_updates.py",
)
MEMORY = ("tests/activities/memory/test_tools.py", "tests/activities/memory/test_in_a_plan.py")
OAUTH = ("tests/accounts/test_oauth_flows.py",)
RUNS = (
    "tests/scenarios/test_plans.py",
    "tests/test_main_job.py",
    "tests/scenarios/test_doubt.py",
    "tests/scenarios/test_cards.py",
    "tests/scenarios/test_people.py",
)


@dataclass(frozen=True)
class Mutation:
    """A change that breaks a guarantee.

    Args:
        file: Relative to the root.
        old: Stands exactly once in the file.
        new: Takes its place.
        tests: One of these turns red.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _group(file: str, tests: tuple[str, ...], *changes: tuple[str, str]) -> Iterator[Mutation]:
    return (Mutation(file, old, new, tests) for old, new in changes)


MUTATIONS = (
    *_group(
        "retinue/ledger.py",
        LEDGER,
        ("if recorded := await self._recorded(session, key, args_hash, result_type):", "if recorded := None:"),
        ("    if row.args_hash != args_hash:", "    if False:"),
        ("    if row.state == EffectState.CLOSED:\n        raise", "    if False:\n        raise"),
        ("        if moved.rowcount != 1:", "        if False:"),
        ("held = (LEDGER.c.attempt == attempt) & (LEDGER.c.state == before)", "held = LEDGER.c.state == before"),
        ("held = (LEDGER.c.attempt == attempt) & (LEDGER.c.state == before)", "held = LEDGER.c.attempt == attempt"),
        ("            if cancelled.is_set():", "            if False:"),
        ("            if found.silent_for >= settle:", "            if True:"),
        ("            if found.silent_for >= settle:", "            if False:"),
        ("            cancelled.set()\n            return await work", "            return await work"),
        (
            "        except RetinueError as error:\n            await self._nothing_happened(key, attempt)",
            "        except RetinueError as error:",
        ),
        ("open_ = LEDGER.c.state != EffectState.DONE", "open_ = LEDGER.c.key == key"),
        ('await self._insert(session, key, "", "null", state=EffectState.CLOSED)', "pass"),
        ("Outcome.OPEN if key in self._open else Outcome.NOTHING", "Outcome.NOTHING"),
        (
            "elif row.state == EffectState.ACTING:\n                    return EffectStatus(outcome=Outcome.OPEN)\n",
            "elif row.state == EffectState.ACTING:\n                    return EffectStatus(outcome=Outcome.NOTHING)\n",
        ),
        ("            self._record_later(key, result)\n", ""),
        ("    return first_key(effect_key())", "    return effect_key()"),
    ),
    *_group(
        "retinue/ledger.py",
        ("tests/retinue/test_restored.py",),
        ("        if happened is None:\n            raise OutcomeUnknown(_IN_DOUBT)\n", ""),
        (" if key == first_key(key) else None", ""),
        (
            "state=EffectState.ACTING, attempt=_RESTORED)\n                    return EffectStatus",
            "state=EffectState.CLOSED)\n                    return EffectStatus",
        ),
    ),
    *_group(
        "workflows/rules/policy.py",
        POLICY,
        ("if sure or (perhaps and rule.decide is not Decision.AUTO):", "if sure or perhaps:"),
        ("if sure or (perhaps and rule.decide is not Decision.AUTO):", "if sure:"),
        ("return hints.destructive and not hints.read_only", "return hints.destructive"),
        ("return any(fits) and (all(fits) or not automatic)", "return any(fits)"),
        ("{Source.STRANGERS: Source.KEY, Source.MODEL", "{Source.MODEL"),
        (
            "Origin(path=leaf, source=Source.MODEL, trusted=False)",
            "Origin(path=leaf, source=Source.USER, trusted=True)",
        ),
        ("return guess if any(values.unknown for values in found) else not rule", "return not rule"),
        ("exact=rule.decide is Decision.AUTO)", "exact=True)"),
        ("exact=rule.decide is Decision.AUTO)", "exact=False)"),
        (
            "isinstance(value, int | float) and not isinstance(value, bool) and value",
            "isinstance(value, int) and value",
        ),
        ("not isinstance(value, bool) and value <= limit", "not isinstance(value, bool) and value < limit"),
        ('name="reads", read_only=True, open_world=False, free_destination=False,', 'name="reads", read_only=True,'),
        ("after_strangers=True, decide=Decision.ASK", "after_strangers=True, decide=Decision.AUTO"),
        ("open_world=False, destructive=False, decide=Decision.AUTO", "open_world=False, decide=Decision.AUTO"),
        ("origins=(Source.STRANGERS, Source.MODEL, Source.OWN)", "origins=(Source.STRANGERS, Source.OWN)"),
        ("Verdict(decision=Decision.ASK, reasons=reasons", "Verdict(decision=Decision.AUTO, reasons=reasons"),
        ("names = {caller} if rule.decide is Decision.AUTO else {", "names = {"),
        ("        if self.approvers > 1 and not self.by:", "        if False:"),
    ),
    *_group(
        "workflows/rules/provenance.py",
        ORIGINS,
        (
            "theirs = text in words.typed or _is_typed_in(text, in_person)\n                found",
            "theirs = True\n                found",
        ),
        ("    if value in known and not words.written_through(value):", "    if value in known:"),
        ("(Whose.OWN in whose and self.echoes_strangers(step_id))", "False"),
        ("step.steered or any(self.strangers_in", "any(self.strangers_in"),
        ("return any(exactly.match(text, place) for place in chain([first], places))", "return True"),
        (
            "source=Source.STRANGERS if after_strangers else Source.MODEL, trusted=False",
            "source=Source.USER, trusted=True",
        ),
        ("{Whose.DATA} if self.echoes_strangers(step_id) else {Whose.DATA, Whose.OWN}", "{Whose.DATA, Whose.OWN}"),
        ("for message in self.said[self._taken_over() :]", "for message in self.said"),
    ),
    *_group(
        "workflows/consent/approvals.py",
        DECISIONS,
        ("        if decide.args_hash != view.args_hash:", "        if False:"),
        (
            "        view = self.get(decide.approval_id)\n        if view.status is not ApprovalStatus.PENDING:",
            "        view = self.get(decide.approval_id)\n        if False:",
        ),
        ("if not may_decide(decide.by, may, owner=self._requester) and not proves_nobody:", "if False:"),
        ("        if view.not_the_requester and decide.by == self._requester:", "        if False:"),
        ("if decide.decision is DecisionKind.APPROVE and decide.by in", "if False and decide.by in"),
        ("        if len(votes) < view.approvers:", "        if False:"),
        ("        if verdict.decision is Decision.DENY:", "        if False:"),
        ("        if view.approvers > 1 or view.not_the_requester or view.by:", "        if False:"),
        ("            or list(refused_destinations(decide.args, question.sensitive))\n", ""),
        (
            "            list(islice(check_args(decide.args, view.args_schema), _PROBLEMS))\n            or ",
            "            ",
        ),
    ),
    *_group(
        "workflows/rules/grants.py",
        GRANTS,
        ("return is_live(grant, now) and fits(", "return fits("),
        ("if grant.tool != tool or grant.account", "if grant.account"),
        (" or not _is_for_run(grant, schedule_id, keys):", ":"),
        (" or grant.account != account or not", " or not"),
        ("    if grant.closed and any(", "    if False and any("),
        ("ended = grant.revoked_at is not None or grant.uses == 0", "ended = grant.revoked_at is not None"),
        ("AlsoFor.KEYS in grant.also_for or all(key == given_with for key in keys)", "True"),
    ),
    *_group(
        "workflows/person.py",
        GRANTS,
        ('"uses": None if grant.uses is None else grant.uses - 1,', '"uses": grant.uses,'),
        ("        if key in self._keys:\n            return self._answered(key, question)\n", ""),
        (" or grant.revoked_at or not", " or not"),
        ("        if revoke.grant_id not in self._grants:", "        if False:"),
    ),
    *_group(
        "api/auth/principals.py",
        SIGNING_IN,
        ("return allowed and (self.scopes is None or permission in self.scopes)", "return allowed"),
    ),
    *_group(
        "api/auth/authenticator.py",
        SIGNING_IN,
        ("        if len(names) != 1 or not NAME.fullmatch", "        if not NAME.fullmatch"),
        (
            "            if key is None:\n                return False\n            scopes = key.scopes",
            "            scopes = key and key.scopes",
        ),
    ),
    *_group(
        "api/auth/api_keys.py",
        SIGNING_IN,
        ("API_KEYS.c.digest == _digest(secret), API_KEYS.c.expires_at > now", "API_KEYS.c.digest == _digest(secret)"),
    ),
    *_group(
        "api/routes/keys.py",
        SIGNING_IN,
        ("refused = sorted(scope for scope in body.scopes if not person.may(scope))", "refused: list[str] = []"),
        ("last = min(now + LONGEST, found.until if found and found.until else now + LONGEST)", "last = now + LONGEST"),
    ),
    *_group(
        "api/services/run_access.py",
        ("tests/api/tenancy/test_isolation.py", "tests/api/tenancy/test_auditors.py", "tests/scenarios/test_people.py"),
        ("if owner is None or organisation(owner) != self._tenant:", "if owner is None:"),
        ("(to is not Access.CHANGE and decides)", "decides"),
        ("(to is Access.READ and self._audits)", "self._audits"),
    ),
    *_group(
        "workflows/steps/executor.py",
        ACCOUNTS,
        ('asker = asker.model_copy(update={"account": action.account.account})', "pass"),
        ("        if self._shows_account(action):", "        if False:"),
    ),
    *_group(
        "retinue/accounts/routing.py",
        ACCOUNT_ROUTING,
        (
            "connection = await self._accounts.connection(account=bound or account)",
            "connection = await self._accounts.connection(account=account)",
        ),
        ("        if connection is None and bound is not None:", "        if False:"),
    ),
    *_group(
        "workflows/steps/executor.py",
        RUNS,
        ("and all(self._runs[other].view.status is StepStatus.COMPLETED for other in run.step.depends_on)", "and True"),
        ("        if again and not step.annotations.read_only:", "        if False:"),
        ("    yield from refused_destinations(args, step.annotations.sensitive)\n", ""),
        ("unknown=unknown is not None or self._may_have_happened(step, error)", "unknown=False"),
        ("        if cleared.hold:", "        if False:"),
        ("            if not await self._was_done(step, args):\n                raise", "            raise"),
    ),
    *_group(
        "activities/memory/store.py",
        MEMORY,
        ("return select(StoredFact).where(col(StoredFact.person) == self._person)", "return select(StoredFact)"),
        ('text("PRAGMA secure_delete=ON")', 'text("PRAGMA secure_delete=OFF")'),
    ),
    *_group(
        "activities/memory/tools.py",
        MEMORY,
        ("    if not asker.may_read:", "    if False:"),
        ('return changed.model_copy(update={"before": [], ', "return changed.model_copy(update={"),
    ),
    *_group(
        "activities/memory/contract.py",
        MEMORY,
        ('annotations=_WRITES.replace(sensitive=("/text",)),', "annotations=_WRITES,"),
    ),
    *_group(
        "retinue/temporal/person_header.py",
        MEMORY,
        ("if found is None or organisation(found.person) != tenant:", "if found is None:"),
    ),
    *_group(
        "workflows/rules/policy.py",
        MEMORY,
        ("Source.MODEL: Source.REMEMBERED}", "}"),
    ),
    *_group(
        "accounts/oauth/flows.py",
        OAUTH,
        ("    if expected if iss is None else not visit.metadata.fits(iss):", "    if False:"),
        ("            if error.code in _WITHDRAWN:", "            if False:"),
        ("and not hmac.compare_digest(who.subject.encode(), tokens.subject.encode())", "and False"),
        ("    return begun - EARLY <= now < token.expires_at - early", "    return now < token.expires_at"),
        ("        if refresh is not None:\n            changes", "        if False:\n            changes"),
    ),
    *_group(
        "accounts/oauth/identity.py",
        OAUTH,
        ('nonce={"essential": True, "value": nonce} if nonce is not None else {},', "nonce={},"),
        ("_LEEWAY = 600", "_LEEWAY = 1"),
        ("_LEEWAY = 600", "_LEEWAY = 86400"),
    ),
    *_group(
        "accounts/oauth/metadata.py",
        OAUTH,
        ('told.issuer.rstrip("/") != provider.issuer.rstrip("/")', "False"),
        ("            return _object(kept)\n        found", "            raise\n        found"),
    ),
    *_group(
        "accounts/services/secrets.py",
        ("tests/accounts/test_oauth_in_service.py",),
        ("            if self._is_free(account):", "            if True:"),
        ("        return time.monotonic() - since > CLAIM", "        return False"),
        (
            "                stored.sealed, stored.scopes = self.seal(stored, renewed), renewed.scopes or stored.scopes\n",
            "",
        ),
    ),
    *_group(
        "accounts/discovery/finder.py",
        ("tests/accounts/test_discovery.py",),
        ('            if parts.scheme != "https" or parts.username or parts.password:', "            if False:"),
        ("return servers if servers is not None and await self._are_public(servers) else None", "return servers"),
        ("if self._ispdb and (servers", "if (servers"),
    ),
    *_group(
        "accounts/discovery/service.py",
        ("tests/accounts/test_discovery.py",),
        ("            if all(_is_own(url, address) for url in found.endpoints.values()):", "            if True:"),
    ),
    *_group(
        "retinue/accounts/rest_api.py",
        ("tests/retinue/test_rest_api.py",),
        ("        if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc) or", "        if"),
        ("        if in_the_clear(parts.scheme", "        if False and in_the_clear(parts.scheme"),
    ),
    *_group(
        "retinue/accounts/access.py",
        ("tests/retinue/test_rest_api.py",),
        ("accounts, self._accounts = self._accounts, None", "accounts = self._accounts"),
    ),
    *_group(
        "activities/email/imap_client.py",
        ("tests/activities/email/test_bearer.py",),
        ("if each.server == server", "if each.server.host == server.host"),
        ("            if self._doubtful:", "            if False:"),
        ("if len(self._waiting) >= self._most:", "if False:"),
    ),
    *_group(
        "activities/calendar/graph.py",
        ("tests/activities/calendar/test_graph.py",),
        ('"transactionId": transaction_of(calendar, event_id), ', ""),
        ("body, etag=etag)", "body)"),
        ("{part(text_of(event, 'id'))}\", etag=etag)", "{part(text_of(event, 'id'))}\")"),
    ),
    *_group(
        "activities/contacts/graph.py",
        ("tests/activities/contacts/test_graph.py",),
        ("    enters_once = False", "    enters_once = True"),
        (", etag=person.etag)", ")"),
    ),
    *_group(
        "activities/email/gmail.py",
        ("tests/activities/email/test_gmail.py",),
        (" or await self._alike(key, message_id)", ""),
        ("await self._mailbox.send(content, thread=thread)", "await self._mailbox.send(content, thread=None)"),
    ),
    *_group(
        "activities/email/gmail_mailbox.py",
        ("tests/activities/email/test_gmail.py",),
        ('_OPERATORS.sub(" ", word)', "word"),
    ),
    *_group(
        "activities/calendar/google_server.py",
        ("tests/activities/calendar/test_google.py",),
        ('_SILENTLY = (("sendUpdates", "none"),)', "_SILENTLY = ()"),
        (' and not event.get("recurringEventId")', ""),
        ("without_marks(fields) if dates else fields", "fields"),
    ),
    *_group(
        "activities/contacts/google.py",
        ("tests/activities/contacts/test_google.py",),
        ("    enters_once = False", "    enters_once = True"),
    ),
)


def main(numbers: list[str]) -> int:
    """Try the mutations with these numbers, or all; return 1 if one survived."""
    chosen = [int(number) for number in numbers] or list(range(1, len(MUTATIONS) + 1))
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        root = copied(Path(folder) / "copy").root
        for tests in dict.fromkeys(MUTATIONS[number - 1].tests for number in chosen):
            assert not (red := _red(tests, root)), f"red without any mutation: {' '.join(tests)}\n{red}"
        for number in chosen:
            mutation = MUTATIONS[number - 1]
            with _made(mutation, root):
                noticed = bool(_red(mutation.tests, root))
            survived += not noticed
            _say(number, mutation, "noticed" if noticed else "SURVIVED")
    sys.stdout.write(f"{len(chosen) - survived} of {len(chosen)} mutations were noticed.\n")
    return int(survived > 0)


@contextmanager
def _made(mutation: Mutation, root: Path) -> Iterator[None]:
    file = root / mutation.file
    original = file.read_text()
    file.write_text(original.replace(mutation.old, mutation.new))
    try:
        yield
    finally:
        file.write_text(original)


def _red(tests: tuple[str, ...], root: Path) -> str:
    """Run them; return the end of what a red one prints, else an empty text."""
    # folder by folder: pytest loses the fixtures of a folder that it comes back to
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *sorted(tests)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, timeout=LONGEST, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done after {LONGEST} s"
    assert done.returncode in (0, 1), done.stdout[-2000:]
    return done.stdout[-2000:] if done.returncode else ""


def _say(number: int, mutation: Mutation, outcome: str) -> None:
    sys.stdout.write(f"{number:3} {outcome:8} {mutation.file}: {' '.join(mutation.new.split())[:80] or 'deleted'}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
