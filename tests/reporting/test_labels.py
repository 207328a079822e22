"""Names beside points: where there is room."""

from random import Random

import pytest

from scalpel.reporting.labels import (
    MARK,
    POSITIONS,
    Box,
    label,
    place,
)

SIZE = (800.0, 400.0)


def marked(x: float, y: float) -> Box:
    return Box(x - MARK / 2, y - MARK / 2, x + MARK / 2, y + MARK / 2)


def test_a_point_alone_has_its_name_above_to_the_right():
    assert place([(400.0, 200.0)], ["alone"], SIZE) == ["top right"]


def test_a_name_stays_within_the_plot():
    points = [(795.0, 200.0), (400.0, 398.0), (795.0, 398.0)]
    assert place(points, ["right"] * 3, SIZE) == ["top left", "bottom right", "bottom left"]


def test_a_name_hides_no_other_point_and_no_name_before_it():
    points = [(100.0, 100.0), (130.0, 116.0)]
    first, second = place(points, ["a-long-name", "another"], SIZE)
    box = label(*points[0], "a-long-name", first)
    assert first == "bottom right" and not box.shared(marked(*points[1]))
    assert not box.shared(label(*points[1], "another", second))


def test_boxes_share_what_both_cover():
    assert Box(0, 0, 4, 4).shared(Box(2, 3, 9, 9)) == 2.0 and not Box(0, 0, 1, 1).shared(Box(2, 0, 3, 1))


@pytest.mark.parametrize("seed", range(8))
def test_less_is_hidden_than_with_all_names_on_one_side(seed):
    rng = Random(seed)
    points = [(rng.uniform(0, 800), rng.uniform(250, 400)) for _ in range(9)]
    names = [f"arm-number-{k}" for k in range(9)]

    def hidden(sides: list[str]) -> float:
        boxes = [label(*point, name, side) for point, name, side in zip(points, names, sides, strict=True)]
        pairs = sum(a.shared(b) for i, a in enumerate(boxes) for b in boxes[:i])
        outside = sum(box.area - box.shared(Box(0.0, 0.0, *SIZE)) for box in boxes)
        return outside + pairs + sum(box.shared(marked(*point)) for box in boxes for point in points)

    assert hidden(place(points, names, SIZE)) < min(hidden([side] * 9) for side in POSITIONS) / 2
