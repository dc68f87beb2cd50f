"""What WebDAV servers say of their resources."""

from __future__ import annotations

import pytest

from retinue.network.dav import strong


@pytest.mark.parametrize("tag", ['"\u00e9"', '"a\r\nX: y"', '"a\nb"', '"' + "a" * 2000 + '"'])
def test_a_tag_that_no_header_can_carry_is_none(tag: str) -> None:
    assert strong(tag) == ""


@pytest.mark.parametrize(("tag", "meant"), [('"abc"', '"abc"'), (' W/"abc" ', '"abc"'), ("", "")])
def test_a_weak_tag_is_taken_for_the_strong_one(tag: str, meant: str) -> None:
    assert strong(tag) == meant
