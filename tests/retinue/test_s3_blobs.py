"""Large payloads in an S3 bucket: no shared folder, whole for who reads them, and every failure in words."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from temporalio.converter import DataConverter

from retinue.errors import ServiceUnavailable
from retinue.settings import RetinueSettings
from retinue.temporal import s3_blobs
from retinue.temporal.connection import DATA_CONVERTER, data_converter
from retinue.temporal.keyring import new_key
from retinue.testing import plan_answer
from tests.conftest import Stack
from tests.retinue.test_blobs import LARGE, Fresh

SECRET = "canary-aws-secret"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server on this machine."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket, set as an operator would; the folder of files must stay empty."""
    name = f"retinue-{uuid.uuid4().hex}"
    for variable, value in {
        "RETINUE_BLOB_BUCKET": name,
        "RETINUE_BLOB_DIR": str(tmp_path / "blobs"),
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIACANARY",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(variable, value)
    s3_blobs._client.cache_clear()
    made(name)
    yield name
    s3_blobs._client.cache_clear()
    assert not (tmp_path / "blobs").exists()


def made(name: str) -> None:
    s3_blobs._client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def objects(bucket: str) -> dict[str, bytes]:
    client = s3_blobs._client()
    keys = [found["Key"] for found in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


async def test_a_large_payload_is_an_object_and_the_history_holds_its_name(bucket: str) -> None:
    [payload] = await DATA_CONVERTER.encode([{"text": LARGE}])
    assert payload.ByteSize() < 600
    [(key, content)] = objects(bucket).items()
    assert len(content) > len(LARGE)
    assert key.startswith("v0/")
    assert await DATA_CONVERTER.decode([payload]) == [{"text": LARGE}]
    await DATA_CONVERTER.encode(["small", {"text": LARGE}])
    assert len(objects(bucket)) == 1


async def test_encrypted_payloads_are_encrypted_in_the_bucket_too(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_ENCRYPTION_KEYS", new_key())
    converter: DataConverter = data_converter()
    [payload] = await converter.encode([{"text": LARGE}])
    [content] = objects(bucket).values()
    assert b"xxxxxxxx" not in content
    assert await converter.decode([payload]) == [{"text": LARGE}]


async def test_histories_of_before_read_their_files_and_those_of_another_bucket_their_objects(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETINUE_BLOB_DIR", str(tmp_path / "old"))
    monkeypatch.setenv("RETINUE_BLOB_BUCKET", "")
    [as_file] = await DATA_CONVERTER.encode([LARGE])
    monkeypatch.setenv("RETINUE_BLOB_BUCKET", bucket)
    [in_first] = await DATA_CONVERTER.encode([LARGE])
    second = f"second-{uuid.uuid4().hex}"
    made(second)
    monkeypatch.setenv("RETINUE_BLOB_BUCKET", f"{second},{bucket}")
    [in_second] = await DATA_CONVERTER.encode([LARGE])
    assert await DATA_CONVERTER.decode([as_file, in_first, in_second]) == [LARGE] * 3
    assert (len(objects(bucket)), len(objects(second))) == (1, 1)
    monkeypatch.setenv("RETINUE_BLOB_BUCKET", second)
    with pytest.raises(ServiceUnavailable, match="in a bucket that is not configured here"):
        await DATA_CONVERTER.decode([in_first])
    monkeypatch.setenv("RETINUE_BLOB_DIR", str(tmp_path / "blobs"))


async def test_what_is_missing_or_was_changed_is_said_without_a_name(bucket: str) -> None:
    [payload] = await DATA_CONVERTER.encode([LARGE])
    [key] = objects(bucket)
    s3_blobs._client().put_object(Bucket=bucket, Key=key, Body=b"changed")
    with pytest.raises(ServiceUnavailable, match="from the bucket: it is not what was written") as changed:
        await DATA_CONVERTER.decode([payload])
    s3_blobs._client().delete_object(Bucket=bucket, Key=key)
    with pytest.raises(ServiceUnavailable, match="from the bucket: NoSuchKey") as missing:
        await DATA_CONVERTER.decode([payload])
    for error in (changed, missing):
        assert key not in str(error.value)
        assert "RETINUE_BLOB_BUCKET" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("RETINUE_BLOB_BUCKET", "never-made", "NoSuchBucket"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", "EndpointConnectionError"),
    ],
)
async def test_a_bucket_that_does_not_answer_is_said(
    bucket: str, variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    s3_blobs._client.cache_clear()
    with pytest.raises(ServiceUnavailable, match=f"written to the bucket: {says}") as error:
        await DATA_CONVERTER.encode([LARGE])
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("name", ["Upper", "a_b", "a", "ok-name,-bad", "x" * 64])
def test_a_name_that_is_no_bucket_is_refused_at_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_BLOB_BUCKET", name)
    with pytest.raises(ValueError, match="blob_bucket"):
        RetinueSettings()


async def test_an_assistant_with_large_results_runs_without_a_shared_folder(
    stack: Stack, fresh: Fresh, bucket: str, lonely: str
) -> None:
    """The whole product: what is large in it goes over the bucket. A new capability makes planning read the registry again."""
    message = fresh("Note this: " + "tea " * 900)
    notes = [
        {"id": f"s{number}", "tool": "tasks.add", "args": {"title": "Tea", "notes": "n" * 3000}} for number in range(20)
    ]
    stack.model.script(message, plan_answer(notes))
    done: Any = await stack.ended((await stack.start(message))["id"], seconds=60)
    assert done["status"] == "completed", done["error"]
    assert any("/wt/" in key for key in objects(bucket)), "the manifests of all tools are large"
