"""Says in words why Temporal cannot be reached; the SDK's own texts are those of its libraries."""

from __future__ import annotations

import os
import re

_CLIENT = "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH"
_REASONS = {
    r"InvalidCertificate\((UnknownIssuer|BadSignature)": "its certificate is not signed by a trusted authority; "
    "TEMPORAL_TLS_SERVER_CA_CERT_PATH names another one",
    r"InvalidCertificate\(NotValidForName": "its certificate is for another name; TEMPORAL_TLS_SERVER_NAME names the one "
    "that it must carry",
    r"InvalidCertificate\((Expired|NotValidYet)": "its certificate has expired or is not valid yet, or this machine's "
    "clock is wrong",
    r"InvalidCertificate": "its certificate is not to be trusted",
    r"fatal alert: CertificateRequired": f"it asks for a client certificate; set {_CLIENT}",
    r"fatal alert: (UnknownCA|BadCertificate|Certificate|UnsupportedCertificate|AccessDenied|DecryptError)": "it refuses "
    f"our client certificate; check {_CLIENT}",
    r"(PrivateKey|Certificate)ParseError": f"the client certificate or its key cannot be read; check {_CLIENT}",
    r"code: (Unauthenticated|PermissionDenied)": "it refuses our API key or certificate for this namespace; check "
    "TEMPORAL_API_KEY and TEMPORAL_NAMESPACE",
    r"InvalidMessage|CorruptMessage|WrongVersion": "it does not speak TLS at that port; check TEMPORAL_ADDRESS and "
    "TEMPORAL_TLS",
    r"fatal alert": "no secure connection (TLS) is possible; check TEMPORAL_TLS_*",
}
_HANGS_UP = re.compile(r"BrokenPipe|UnexpectedEof|ConnectionReset|connection closed|frame with invalid size")
_CANNOT = "Temporal cannot be reached"


class TemporalUnreachable(RuntimeError):
    """Temporal cannot be reached; the text says why."""


def unreachable(error: BaseException) -> str:
    """Return why no connection is possible, in one sentence without a full stop."""
    said = str(error)
    reason = next((words for pattern, words in _REASONS.items() if re.search(pattern, said)), "")
    if not reason and _HANGS_UP.search(said):
        reason = f"it hangs up; {_likely()}"
    return f"{_CANNOT}: {reason}" if reason else _CANNOT


def _likely() -> str:
    """Return what a server wants that hangs up after the first bytes, as far as our settings show it."""
    if any(os.environ.get(f"TEMPORAL_TLS_CLIENT_CERT_{kind}") for kind in ("PATH", "DATA")):
        return f"perhaps it refuses our client certificate: check {_CLIENT}"
    if os.environ.get("TEMPORAL_TLS") == "true" or os.environ.get("TEMPORAL_API_KEY"):
        return f"perhaps it asks for a client certificate: set {_CLIENT}"
    return "if that port is one of TLS, set TEMPORAL_TLS=true"
