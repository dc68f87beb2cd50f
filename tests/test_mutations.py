"""The mutations still fit the code that they break."""

from __future__ import annotations

import pytest

from retinue.settings import ROOT
from tests.mutations import MUTATIONS, Mutation


def test_there_are_enough() -> None:
    assert len(MUTATIONS) >= 60


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.file.replace("/", "."))
def test_a_mutation_breaks_one_place(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1, mutation.old
    assert mutation.new != mutation.old
    assert all((ROOT / test).exists() for test in mutation.tests)
