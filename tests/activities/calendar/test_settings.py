"""The calendar's settings."""

import pytest
from pydantic import ValidationError

from activities.calendar.settings import CalendarSettings


def test_the_database_is_a_file_in_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETINUE_DATA_DIR", "/data")
    monkeypatch.delenv("CALENDAR_DATABASE_URL", raising=False)

    assert CalendarSettings().database_url == "sqlite+aiosqlite:////data/calendar.db"


def test_an_unknown_zone_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALENDAR_TIMEZONE", "Mars/Olympus")

    with pytest.raises(ValidationError, match="Europe/Berlin"):
        CalendarSettings()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://dav.example.com/work/", "must be https"),
        ("https://ana:secret-canary@dav.example.com/work/", "CALENDAR_USERNAME"),
        ("dav.example.com", "https address"),
    ],
)
def test_an_address_that_cannot_work_stops_the_start_without_the_password(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        CalendarSettings.model_validate({"provider": "caldav", "url": url, "password": "secret-canary"})
    assert "canary" not in str(caught.value)
