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
