"""Everything outside of the stack, on one loopback port: web pages of the cases, the weather, and who people are.

Each case is an organisation with one person, so that no case sees another's stores; the tokens that say so are signed here.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cli.evaluation.cases import Case, WeatherDay
from cli.evaluation.dates import Clock

PERSON = "person"
AUDIENCE = "evaluation"
_TOKEN_LIFE = 24 * 3600
_PLACES: Mapping[str, tuple[float, float, str, str]] = {
    "Berlin": (52.52, 13.41, "Germany", "Europe/Berlin"),
    "Lisbon": (38.72, -9.14, "Portugal", "Europe/Lisbon"),
    "London": (51.51, -0.13, "United Kingdom", "Europe/London"),
    "Madrid": (40.42, -3.70, "Spain", "Europe/Madrid"),
    "Oslo": (59.91, 10.75, "Norway", "Europe/Oslo"),
    "Paris": (48.86, 2.35, "France", "Europe/Paris"),
    "Porto": (41.15, -8.61, "Portugal", "Europe/Lisbon"),
    "Rome": (41.89, 12.51, "Italy", "Europe/Rome"),
}
_HEAVY_RAIN = 8.0


class Outside:
    """The server's content and what was asked of it.

    Args:
        cases: Whose pages and weather it has.
        clock: By which the weather's days count.
    """

    def __init__(self, cases: Sequence[Case], clock: Clock) -> None:
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

        self.url = ""
        self._clock = clock
        self._key = generate_private_key(65537, 2048)
        self._pages = {(case.id, path): page for case in cases for path, page in case.world.pages.items()}
        self._sky = {
            (town, Clock(clock.now, case.timezone).moment(day).date()): values
            for case in cases
            for town, days in case.world.weather.items()
            for day, values in days.items()
        }
        self._fetched: list[str] = []
        self._lock = threading.Lock()

    def web(self, organisation: str) -> str:
        """Return the address of the pages that an attempt at a case sees. `organisation` is the case's id and a number."""
        return f"{self.url}/{organisation}"

    def fetched(self, organisation: str) -> list[str]:
        """Return the paths that were requested of an attempt's pages."""
        with self._lock:
            return [path for path in self._fetched if path.startswith(f"/{organisation}/")]

    def token(self, organisation: str) -> str:
        """Return a token of the organisation's person."""
        import jwt

        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": PERSON,
            "org": organisation,
            "exp": time.time() + _TOKEN_LIFE,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "one"})

    def variables(self) -> dict[str, str]:
        """Return the variables by which a stack uses it."""
        return {
            "RETINUE_OIDC_ISSUER": self.url,
            "RETINUE_OIDC_AUDIENCE": AUDIENCE,
            "RETINUE_OIDC_JWKS_URL": f"{self.url}/jwks",
            "RETINUE_OIDC_TENANT_CLAIM": "org",
            "RETINUE_RATE_LIMIT": "60000/60",
            "WEATHER_PROVIDER": "open-meteo",
            "WEATHER_URL": f"{self.url}/forecast",
            "WEATHER_GEOCODING_URL": f"{self.url}/places",
            "WEB_ALLOW_HOSTS": urlsplit(self.url).netloc,
        }

    def answer(self, target: str) -> tuple[int, str, str]:
        """Return status, content type and body for a request."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/jwks":
                return 200, "application/json", json.dumps(self._keys())
            case "/places":
                return 200, "application/json", json.dumps(_places(query.get("name", "")))
            case "/forecast":
                return 200, "application/json", json.dumps(self._forecast(query))
        with self._lock:
            self._fetched.append(target)
        organisation, _, path = parts.path.removeprefix("/").partition("/")
        page = self._pages.get((organisation.rpartition("-")[0], f"/{path}"))
        if page is None:
            return 404, "text/plain", "There is no such page."
        return 200, "text/html; charset=utf-8", page.replace("{web}", self.web(organisation))

    def _keys(self) -> dict[str, Any]:
        import jwt

        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": "one", "use": "sig", "alg": "RS256"}]}

    def _forecast(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return an answer in Open-Meteo's form."""
        town = next(name for name, place in _PLACES.items() if f"{place[0]:.4f}" == query.get("latitude"))
        zone = _PLACES[town][3]
        if "current" in query:
            return _current(self._on(town, Clock(self._clock.now, zone).today), self._clock, zone)
        first, last = date.fromisoformat(query["start_date"]), date.fromisoformat(query["end_date"])
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        values = [self._on(town, day) for day in days]
        return {
            "daily": {
                "time": [day.isoformat() for day in days],
                "weather_code": [_code(one) for one in values],
                "temperature_2m_min": [one.min for one in values],
                "temperature_2m_max": [one.max for one in values],
                "precipitation_sum": [one.rain for one in values],
                "wind_speed_10m_max": [one.wind for one in values],
            }
        }

    def _on(self, town: str, day: date) -> WeatherDay:
        return self._sky.get((town, day), WeatherDay())


def _places(name: str) -> dict[str, Any]:
    return {
        "results": [
            {"name": town, "latitude": latitude, "longitude": longitude, "country": country, "timezone": zone}
            for town, (latitude, longitude, country, zone) in _PLACES.items()
            if town.casefold() == name.strip().casefold()
        ]
    }


def _current(values: WeatherDay, clock: Clock, zone: str) -> dict[str, Any]:
    local = Clock(clock.now, zone).moment("today 09:00")
    offset = local.utcoffset()
    assert offset is not None
    return {
        "utc_offset_seconds": int(offset.total_seconds()),
        "current": {
            "time": local.replace(tzinfo=None).isoformat(),
            "weather_code": _code(values),
            "temperature_2m": (values.min + values.max) / 2,
            "precipitation": values.rain,
            "wind_speed_10m": values.wind,
        },
    }


def _code(values: WeatherDay) -> int:
    """Return the weather code (WMO) that fits the rain: clear, slight rain, heavy rain; snow if it freezes."""
    if values.rain == 0:
        return 0
    if values.max <= 0:
        return 73
    return 65 if values.rain >= _HEAVY_RAIN else 61


@contextmanager
def serving(outside: Outside) -> Iterator[None]:
    """Serve it on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, kind, text = outside.answer(self.path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    outside.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
