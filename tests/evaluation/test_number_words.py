"""Numbers as a reader sees them."""

import pytest

from scalpel.evaluation.number_words import (
    duration,
    listed,
    memory,
    percent,
    points,
    quantity,
    signed,
    with_range,
)
from scalpel.evaluation.statistics import Interval


@pytest.mark.parametrize(
    "text, wanted",
    [
        (percent(0.213), "21%"),
        (percent(0.0), "0%"),
        (percent(0.001), "<1%"),
        (percent(0.999), ">99%"),
        (percent(1.0), "100%"),
        (percent(None), "–"),
        (points(0.213), "21"),
        (points(-0.021), "−2.1"),
        (points(-0.0001), "0"),
        (signed(0.05), "+5.0"),
        (signed(0.0), "0"),
        (with_range(Interval(0.1, -0.05, 0.25)), "10 (−5.0 to 25)"),
        (quantity(0), "0"),
        (quantity(999), "999"),
        (quantity(1234567), "1.23M"),
        (quantity(5e9, "FLOP"), "5 GFLOP"),
        (quantity(None), "–"),
        (memory(3e8), "286 MiB"),
        (memory(512), "512 B"),
        (duration(3.14159), "3.14 s"),
        (duration(75), "1 min 15 s"),
        (duration(7300), "2 h 1 min"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed([]), ""),
    ],
)
def test_numbers_read_well(text, wanted):
    assert text == wanted
