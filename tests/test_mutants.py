"""The deliberate faults of ``make mutants`` can be made: a line that was moved took its fault along."""

import pytest
from mutants import MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_replaces_a_text_that_is_there_once(mutant):
    assert (ROOT / "lwgan_dist" / mutant.file).read_text().count(mutant.text) == 1
    assert mutant.replacement != mutant.text
    files = [word for word in mutant.tests.split() if word.endswith(".py")]
    assert files
    assert all((ROOT / "tests" / file).is_file() for file in files)
