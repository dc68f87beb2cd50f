"""The codec by itself: what it seals, what it opens, and what it says when it cannot."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, WorkflowSerializationContext

from retinue.errors import Undecipherable
from retinue.temporal.codec import BOUND_TO, KEY_ID, EncryptionSettings
from retinue.temporal.connection import DATA_CONVERTER, data_converter
from retinue.temporal.keyring import new_key

OLD, NEW = new_key(), new_key()
WORDS = {"text": "what somebody wrote"}


def converter(keys: str, *, run: str | None = "a-1", required: bool = False) -> DataConverter:
    """Of a process with these keys, for one run."""
    made = data_converter(EncryptionSettings(keys=SecretStr(keys), required=required))
    return made.with_context(WorkflowSerializationContext("default", run)) if run else made


async def sealed(keys: str = OLD, *, run: str | None = "a-1", value: Any = WORDS) -> Payload:
    [payload] = await converter(keys, run=run).encode([value])
    return payload


async def test_what_is_sealed_is_opened_and_shows_its_key_and_its_run_only() -> None:
    payload = await sealed()
    assert await converter(OLD).decode([payload]) == [WORDS]
    assert dict(payload.metadata) == {
        "encoding": b"binary/encrypted",
        KEY_ID: OLD.partition(":")[0].encode(),
        BOUND_TO: b"a-1",
    }
    assert b"somebody" not in payload.SerializeToString()


async def test_the_same_content_looks_different_each_time() -> None:
    assert (await sealed()).data != (await sealed()).data


async def test_a_large_content_is_one_file_however_often_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that is asked for again and again would otherwise fill the disk."""
    monkeypatch.setenv("RETINUE_BLOB_DIR", str(tmp_path))
    large = {"text": "x" * 300_000}
    for _ in range(3):
        payload = await sealed(value=large)
    [other] = await converter(OLD, run="a-2").encode([large])
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 2
    assert not any(b"x" * 100 in file.read_bytes() for file in files)
    assert await converter(OLD).decode([payload]) == await converter(OLD, run="a-2").decode([other]) == [large]


async def test_the_first_key_writes_and_all_of_them_read() -> None:
    rotated = f"{NEW}\n# kept for what was written before\n{OLD}\n"
    assert await converter(rotated).decode([await sealed(OLD)]) == [WORDS]
    assert (await sealed(rotated)).metadata[KEY_ID] == NEW.partition(":")[0].encode()


def same_id(key: str) -> str:
    """Another key under the same id."""
    return f"{key.partition(':')[0]}:{new_key().partition(':')[2]}"


def with_data(payload: Payload, data: bytes) -> Payload:
    return Payload(metadata=payload.metadata, data=data)


def with_metadata(payload: Payload, **changes: bytes) -> Payload:
    return Payload(
        metadata={**payload.metadata, **{name.replace("_", "-"): value for name, value in changes.items()}},
        data=payload.data,
    )


CHANGES = {
    "a changed byte of the content": lambda p: with_data(p, p.data[:-20] + bytes([p.data[-20] ^ 1]) + p.data[-19:]),
    "a changed byte of the nonce": lambda p: with_data(p, bytes([p.data[0] ^ 1]) + p.data[1:]),
    "a cut end": lambda p: with_data(p, p.data[:-1]),
    "no more than a nonce": lambda p: with_data(p, p.data[:12]),
    "nothing": lambda p: with_data(p, b""),
    "another run's name": lambda p: with_metadata(p, encryption_bound_to=b"a-2"),
    "no run's name": lambda p: with_metadata(p, encryption_bound_to=b""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_was_changed_is_a_typed_error(change: Any) -> None:
    with pytest.raises(Undecipherable, match="changed or cut"):
        await converter(OLD, run=None).decode([change(await sealed())])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (NEW, f"this process has {NEW.partition(':')[0]}$"),
        (same_id(OLD), "the key differs"),
    ],
    ids=["an unknown key", "a wrong key of the same name"],
)
async def test_a_missing_key_is_a_typed_error_that_names_it(keys: str, says: str) -> None:
    with pytest.raises(Undecipherable, match=says) as refused:
        await converter(keys).decode([await sealed()])
    assert OLD.partition(":")[0] in refused.value.message


async def test_a_process_without_keys_says_that_encryption_is_off_here() -> None:
    with pytest.raises(Undecipherable, match="encryption is off here"):
        await DATA_CONVERTER.decode([await sealed()])


async def test_the_name_of_a_key_that_a_stranger_sends_is_not_repeated() -> None:
    odd = with_metadata(await sealed(), encryption_key_id=b"\x1b[31m" + b"x" * 500)
    with pytest.raises(Undecipherable, match="of no valid name") as refused:
        await converter(OLD).decode([odd])
    assert "xxx" not in refused.value.message


@pytest.mark.parametrize("run", ["a-2", "a-11", "a-1-x", "a", "a-1-2027-03-01T08:00:00Z/agent"])
async def test_what_was_written_for_one_run_is_of_no_use_in_another(run: str) -> None:
    """Or whoever can write to Temporal and has a run of their own would read everybody's by it."""
    with pytest.raises(Undecipherable, match="for another run"):
        await converter(OLD, run=run).decode([await sealed()])


async def test_a_run_that_a_schedule_starts_reads_what_was_written_for_the_schedule() -> None:
    assert await converter(OLD, run="a-1-2027-03-01T08:00:00Z").decode([await sealed()]) == [WORDS]


async def test_what_is_not_encrypted_passes_unless_it_may_not() -> None:
    [plain] = await DATA_CONVERTER.encode([WORDS])
    assert await converter(OLD).decode([plain]) == [WORDS]
    with pytest.raises(Undecipherable, match="is not encrypted"):
        await converter(OLD, required=True).decode([plain])


SETTINGS = {
    "nothing": ({"keys": "  "}, "there is no encryption key"),
    "no id": ({"keys": new_key().partition(":")[2]}, "key 1 needs the form"),
    "half a key": ({"keys": f"{OLD},half:{base64.b64encode(b'x' * 16).decode()}"}, "key 2 is not 32 bytes"),
    "no base64": ({"keys": "odd:%%%"}, "key 1 is not 32 bytes"),
    "an id twice": ({"keys": f"{OLD},{OLD}"}, "its own id"),
    "two sources": ({"keys": OLD, "key_file": "keys"}, "either"),
    "no file": ({"key_file": "/nowhere/keys"}, "cannot be read: FileNotFoundError"),
    "required without keys": ({"required": True}, "needs keys"),
}


@pytest.mark.parametrize(("given", "says"), SETTINGS.values(), ids=SETTINGS)
def test_wrong_settings_are_told_without_the_key(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        EncryptionSettings.model_validate(given).codec()
    assert OLD.partition(":")[2] not in str(refused.value)


def test_keys_come_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the newest first\n{NEW}\n\n{OLD}\n")
    keyring = EncryptionSettings(key_file=file).codec().keyring
    assert keyring is not None
    assert [keyring.primary, len(keyring.keys)] == [NEW.partition(":")[0], 2]
