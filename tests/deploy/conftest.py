"""One container engine for all tests here that need one; it starts with the first of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.engine import Engine, why_not


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A running engine that has the base image of our Dockerfile, and nothing else."""
    if missing := why_not():
        pytest.skip(missing)
    with Engine.started() as engine:
        engine.make_base()
        yield engine
