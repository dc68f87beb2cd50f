"""The connection to Temporal and its data converter."""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.failure.v1 import Failure
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client, Interceptor, WorkflowExecutionDescription
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, ToJsonOptions
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    ExternalStorage,
    JSONPlainPayloadConverter,
    PayloadConverter,
    WorkflowSerializationContext,
)
from temporalio.envconfig import ClientConfig
from temporalio.runtime import OpenTelemetryConfig, PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RetryConfig, RPCError

from retinue.runtime import telemetry
from retinue.runtime.logs import be_discreet
from retinue.settings import RetinueSettings, temporal_address
from retinue.temporal.blobs import INLINE_BYTES, BlobFiles
from retinue.temporal.codec import EncryptionSettings, PayloadEncryption, RefusedPayloads
from retinue.temporal.connection_words import TemporalUnreachable, unreachable
from retinue.temporal.proofs import ProofSettings
from retinue.temporal.s3_blobs import S3Blobs
from retinue.temporal.search_attributes import SEARCH_ATTRIBUTES
from retinue.temporal.tenant_header import OrganisationOfClients

_log = logging.getLogger("retinue.temporal.connection")

BUILD_ID = "retinue-0.1.0"
"""The build id of every worker; without one the SDK hashes all loaded modules at start (1.3 s of CPU)."""


# shared, since the SDK creates a converter for each task, and this one caches types
_JSON = PydanticJSONPlainPayloadConverter(ToJsonOptions(exclude_unset=True))
_CONVERTERS = tuple(
    _JSON if isinstance(converter, JSONPlainPayloadConverter) else converter
    for converter in DefaultPayloadConverter.default_encoding_payload_converters
)


class CompactPayloadConverter(CompositePayloadConverter):
    """Writes pydantic models as JSON without unset fields, which halves a run's history.

    Therefore never change a model that crosses Temporal in place: a default list that was appended to counts as unset.
    """

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS, RefusedPayloads())


class QuietFailureConverter(DefaultFailureConverter):
    """Removes stack traces from failures: people read the history for long, and traces belong in the worker's log."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Translate, then drop the trace of the failure and of all its causes."""
        super().to_failure(exception, payload_converter, failure)
        for link in _links(failure):
            link.stack_trace = ""


class EncodedFailureConverter(QuietFailureConverter):
    """Moves failures' texts into payloads, so that the codec encrypts them too, since they repeat run content."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Translate, then move the text of the failure and of all its causes into payloads.

        The SDK's own `encode_common_attributes` does not change the causes of a received failure, so those of a run that
        began before encryption was switched on would stay readable.
        """
        super().to_failure(exception, payload_converter, failure)
        for link in _links(failure):
            if link.message != _ENCODED:
                [attributes] = payload_converter.to_payloads([{"message": link.message, "stack_trace": ""}])
                link.encoded_attributes.CopyFrom(attributes)
                link.message = _ENCODED


_ENCODED = "Encoded failure"
"""The text that Temporal's SDKs put in place of an encoded one, and expect there."""


def _links(failure: Failure) -> Iterator[Failure]:
    """Yield a failure and its causes."""
    link: Message = failure
    while True:
        assert isinstance(link, Failure)
        yield link
        if not link.HasField("cause"):
            return
        link = link.cause


_FILES = BlobFiles(lambda: RetinueSettings().blobs())
_OBJECTS = S3Blobs(lambda: RetinueSettings().buckets())
DATA_CONVERTER = dataclasses.replace(
    DataConverter.default,
    payload_converter_class=CompactPayloadConverter,
    failure_converter_class=QuietFailureConverter,
    external_storage=ExternalStorage(
        drivers=[_FILES, _OBJECTS],
        driver_selector=lambda _context, _payload: _OBJECTS if RetinueSettings().buckets() else _FILES,
        payload_size_threshold=INLINE_BYTES,
    ),
    payload_codec=PayloadEncryption(),
)
"""The converter without encryption; it refuses encrypted payloads with an explanation."""


def data_converter(settings: EncryptionSettings | None = None) -> DataConverter:
    """Return the converter that an installation's settings ask for, by default those of the environment.

    Raises:
        ValueError: The keys are malformed or cannot be read.
    """
    codec = (settings or EncryptionSettings()).codec()
    if codec.keyring is None:
        return DATA_CONVERTER
    return dataclasses.replace(DATA_CONVERTER, payload_codec=codec, failure_converter_class=EncodedFailureConverter)


def of_workflow(client: Client, workflow_id: str) -> DataConverter:
    """Return the client's converter for what belongs to one workflow, for those who read its history themselves."""
    return client.data_converter.with_context(
        WorkflowSerializationContext(namespace=client.namespace, workflow_id=workflow_id)
    )


async def decode_texts(description: WorkflowExecutionDescription, converter: DataConverter) -> None:
    """Decode, in place, the texts of failures that wait for a retry, since Temporal's client does not decode them.

    Raises:
        Undecipherable: One is encrypted, and cannot be read here.
    """
    for pending in description.raw_description.pending_activities:
        failure = pending.last_failure
        if failure.HasField("encoded_attributes"):
            [attributes] = await converter.decode([failure.encoded_attributes])
            text = attributes.get("message") if isinstance(attributes, dict) else None
            failure.message = text if isinstance(text, str) else failure.message


WORKER_HEARTBEAT = timedelta(seconds=5)
"""How often a worker sends the server a heartbeat; `retinue.temporal.pollers` counts recent ones."""


_DOOR_RETRIES_MS = 4000
"""The timeout of a call on a lazy connection, since a person waits for it."""


_PERIOD = timedelta(seconds=15)
_LATENCIES = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BUCKETS = {
    "temporal_activity_schedule_to_start_latency": _LATENCIES,
    "temporal_workflow_task_schedule_to_start_latency": _LATENCIES,
    "temporal_activity_execution_latency": _LATENCIES,
    "retinue_decision_wait": (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 72 * 3600, 168 * 3600),
}
"""Seconds: the SDK's own end at ten minutes, and people decide later."""


async def connect(*, lazy: bool = False) -> Client:
    """Connect as `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS*` say.

    Args:
        lazy: Connect at the first call instead, so that a process can start while the server is away.

    Raises:
        TemporalUnreachable: The server cannot be reached, or refuses our certificate or API key; the text says which.
        ValueError: The settings of encryption, or those of proofs, are wrong.
    """
    config = connect_config(lazy=lazy)
    try:
        return await Client.connect(**config)
    except RuntimeError as error:
        raise TemporalUnreachable(unreachable(error)) from error


def connect_config(*, lazy: bool = False) -> dict[str, Any]:
    """Return the arguments of `Client.connect`, for libraries that connect themselves. Arguments and errors as of `connect`."""
    config = ClientConfig.load_client_connect_config(disable_file=True)
    converter = data_converter()
    if converter is not DATA_CONVERTER:
        be_discreet()
    proofs = ProofSettings().interceptors(config.get("namespace") or "default")
    return {
        **config,
        "target_host": temporal_address() or config.get("target_host") or "127.0.0.1:7233",
        "data_converter": converter,
        "interceptors": [*_traced(), *proofs, OrganisationOfClients()],
        "lazy": lazy,
        "retry_config": RetryConfig(max_elapsed_time_millis=_DOOR_RETRIES_MS) if lazy else None,
        "runtime": _runtime(),
    }


@functools.cache
def _runtime() -> Runtime:
    """Return the runtime, one per process, created late, since a process must not fork after it exists."""
    return Runtime(telemetry=TelemetryConfig(metrics=_metrics()), worker_heartbeat_interval=WORKER_HEARTBEAT)


def _metrics() -> PrometheusConfig | OpenTelemetryConfig | None:
    """Return where the SDK's metrics go; it also exports those that activities and workflows count."""
    wanted = telemetry.wanted_metrics()
    if wanted is None:
        return None
    if wanted.address:
        return PrometheusConfig(wanted.address, durations_as_seconds=True, histogram_bucket_overrides=_BUCKETS)
    return OpenTelemetryConfig(
        wanted.url,
        headers=wanted.headers,
        metric_periodicity=_PERIOD,
        durations_as_seconds=True,
        http=True,
        histogram_bucket_overrides=_BUCKETS,
    )


def _traced() -> list[Interceptor]:
    """Return the interceptor of traces, outermost; none where they are off."""
    if not telemetry.records():
        return []
    from retinue.runtime import otlp  # these cost memory that only traces need
    from retinue.temporal.tracing import RunTraces

    return [RunTraces(otlp.current())]


async def ensure_search_attributes(client: Client) -> None:
    """Register missing search attributes, so that an external Temporal needs no preparation, if it permits that.

    If it does not, the log says so; then run `temporal operator search-attribute create` once.
    """
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        await add_search_attributes(client, SEARCH_ATTRIBUTES.keys() - known.custom_attributes.keys())
    except RPCError as error:
        _log.warning("could not check the search attributes %s: %s", ", ".join(SEARCH_ATTRIBUTES), error.status.name)


async def add_search_attributes(client: Client, names: Iterable[str]) -> None:
    """Register some of `SEARCH_ATTRIBUTES`, one at a time, since a request with several skips all if one exists."""
    for name in sorted(names):
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace, search_attributes={name: indexed(SEARCH_ATTRIBUTES[name])}
            )
        )


def indexed(kind: str) -> IndexedValueType.ValueType:
    """Return the API's value for a kind as the command line names it: `Keyword`, `KeywordList`."""
    return IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{re.sub('(?<=[a-z])(?=[A-Z])', '_', kind).upper()}")
