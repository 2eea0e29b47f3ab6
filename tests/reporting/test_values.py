"""Values as readers see them."""

import pytest

from lwgan_dist.reporting.values import listed, one_line, short, value_text


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0, "0"), (1.0, "1"), (0.631, ".63"), (0.5, ".50"), (0.9968, ".997"), (0.99999, ">.9999"), (1e-9, "<.0001"),
     (0.003, ".003"), (None, "-"), (float("nan"), "-")],
)  # fmt: skip
def test_short_never_rounds_to_certainty(p, text):
    assert short(p) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (True, "true"), (1.0, "1"), (0.031234567, "0.03123"), (12, "12"), ("a_b", "a_b")]
)
def test_values_are_short(value, text):
    assert value_text(value) == text


def test_many_sizes_are_abbreviated():
    assert listed([1, 2, 3]) == "1, 2, 3"
    assert listed(range(10, 20)) == "10, 11, …, 19"


def test_a_reason_is_one_line_of_at_most_160_characters():
    assert one_line("a\n  b") == "a b"
    assert len(one_line("x" * 161)) == 160
    assert one_line("x" * 160) == "x" * 160
