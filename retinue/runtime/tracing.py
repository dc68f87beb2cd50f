"""Switches traces on in a process, if the environment asks for them."""

from retinue.runtime import telemetry


def start(service: str) -> None:
    """Begin to record traces; call it once, before Temporal's client is made.

    Args:
        service: The name of this process, unless `OTEL_SERVICE_NAME` names it.

    Raises:
        RuntimeError: The packages of the extra `observability` are not installed.
    """
    if not telemetry.wants_traces():
        return
    try:
        from retinue.runtime import otlp
    except ModuleNotFoundError as missing:
        raise RuntimeError(
            f"traces are asked for (OTEL_EXPORTER_OTLP_*), and {missing.name} is not installed: "
            "install the extra `observability`, or set OTEL_SDK_DISABLED=true"
        ) from None
    otlp.use(otlp.Traces.to_collector(service))
