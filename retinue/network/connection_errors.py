"""Explains in words why a connection to a service failed, and what to check.

It does not repeat the texts of libraries and servers, since these may contain addresses with credentials.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from retinue.errors import RetinueError, ServiceRefused, ServiceUnavailable

_CERTIFICATES = {
    9: "it is not valid yet (or this machine's clock is wrong)",
    10: "it has expired",
    18: "it is not signed by a trusted authority",
    19: "it is not signed by a trusted authority",
    20: "it is not signed by a trusted authority",
    21: "it is not signed by a trusted authority",
    62: "it is for another name",
    64: "it is for another address",
}
"""Reasons by OpenSSL's number of the failed check."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_EOF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


def about_tls(error: BaseException | None, name: str, *, hint: str) -> ServiceRefused | None:
    """Return the reason why a secure connection is impossible; None if the error is not about TLS.

    Args:
        error: As the library raised it, with its causes.
        name: The service in a sentence, as in "the calendar server".
        hint: Which settings to check.
    """
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            why = _CERTIFICATES.get(one.verify_code)
            told = f"the certificate of {name} is not to be trusted"
            return ServiceRefused(f"{told}: {why}" if why else told, hint=hint)
        if isinstance(one, ssl.SSLError) and not isinstance(one, _EOF):
            if (one.reason or "") in _NO_TLS:
                return ServiceRefused(f"{name} does not speak TLS at that port", hint=f"check the port; {hint}")
            return ServiceRefused(f"no secure connection (TLS) is possible with {name}", hint=hint)
    return None


def unreachable(error: BaseException, name: str, *, hint: str) -> RetinueError:
    """Return the reason why a service cannot be reached. Arguments as in `about_tls`."""
    return about_tls(error, name, hint=hint) or ServiceUnavailable(f"{name} cannot be reached: {_reason(error)}")


def _reason(error: BaseException) -> str:
    for one in _chain(error):
        if isinstance(one, socket.gaierror):
            return "its host name is not known"
        if isinstance(one, ConnectionRefusedError):
            return "nothing listens at that port"
        if isinstance(one, TimeoutError):
            return "it did not answer in time"
    return type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes; connection attempts to several addresses are a group."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__context__, one.__cause__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
