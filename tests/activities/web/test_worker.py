from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.web.contract import Web
from activities.web.settings import WebSettings
from activities.web.worker import CONTRACT, plugin
from retinue.network.egress import HostPort
from retinue.testing import activities_by_name

VARIABLES = {
    "WEB_TIMEOUT": "7",
    "WEB_CONTACT": "https://example.com/about-us",
    "WEB_PORTS": "80, 443,8443",
    "WEB_ALLOW_HOSTS": "wiki.intranet:8080, [::1]:9000,",
}


async def fetched(settings: WebSettings, url: str) -> dict[str, Any]:
    capability = plugin(settings)
    assert capability.run_context is not None
    async with capability.run_context():
        return await ActivityEnvironment().run(activities_by_name(capability.activities)["web.fetch"], {"url": url})


async def test_the_plugin_reads_only_what_is_public_or_allowed(site: Any) -> None:
    """On the machine's own resolver and without stand-ins."""
    site.html("/x", "<p>hello</p>")
    url = f"http://127.0.0.1:{site.port}/x"

    assert (await fetched(WebSettings(allow_hosts=f"127.0.0.1:{site.port}"), url))["text"] == "hello"
    asked = len(site.asked)
    with pytest.raises(ApplicationError, match="WEB_ALLOW_HOSTS") as failure:
        await fetched(WebSettings(ports=f"{site.port}"), url)
    assert failure.value.type == "NotAllowed"
    assert len(site.asked) == asked


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    settings = WebSettings()

    assert settings.timeout == 7
    assert sorted(settings.ports) == [80, 443, 8443]
    assert set(settings.allow_hosts) == {HostPort("wiki.intranet", 8080), HostPort("::1", 9000)}
    assert settings.user_agent("1.0.0") == "retinue/1.0.0 (+https://example.com/about-us)"


def test_without_settings_only_the_usual_ports_of_public_places_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    settings = WebSettings()

    assert sorted(settings.ports) == [80, 443]
    assert sorted(settings.allow_hosts) == []
    assert settings.user_agent("1") == "retinue/1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_PORTS", "0"),
        ("WEB_PORTS", "http"),
        ("WEB_ALLOW_HOSTS", "wiki.intranet"),
        ("WEB_ALLOW_HOSTS", ":80"),
        ("WEB_TIMEOUT", "0"),
        ("WEB_CONTACT", "a\r\nHost: b"),
        ("WEB_CONTACT", "(evil)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValueError, match=name.removeprefix("WEB_").lower()):
        WebSettings()


def test_what_planning_and_consent_are_told() -> None:
    [spec] = CONTRACT.manifest().tools
    said = spec.annotations

    assert CONTRACT is Web
    assert (said.read_only, said.destructive, said.open_world, said.trusted_output) == (True, False, True, False)
    assert said.sensitive == ("/url",)
