"""The prefix tree of a batch, and where it lays each token."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpel.engine.prefix_tree import (
    DEEPEST,
    PrefixTree,
    distinct,
    lay_out,
    tree,
)


def laid(
    rows: list[list[int]], asked: list[list[int]] | None = None, worth: float = 4, bundle: int = 0
) -> tuple[PrefixTree, torch.Tensor]:
    """The layout of rows whose given positions are asked for (all but the first by default), and where those are."""
    ids_N = torch.tensor([x for row in rows for x in row], dtype=torch.long)
    seq_N = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(row) for row in rows]))
    starts = [sum(map(len, rows[:s])) for s in range(len(rows))]
    asked = asked or [list(range(1, len(row))) for row in rows]
    at_n = torch.tensor([start + p for start, ps in zip(starts, asked, strict=True) for p in ps], dtype=torch.long)
    return lay_out(ids_N, seq_N, at_n, worth, bundle), at_n


def context(rows: list[list[int]], layout: PrefixTree, place: int) -> list[int]:
    """The tokens that a place sees, in order of position."""
    flat = [x for row in rows for x in row]
    sees: list[int] = []
    for own in layout.own:
        if own.start <= place < own.stop:
            first = place - (place - own.start) % own.length
            sees += range(first, place + 1)
    for above in layout.above:
        if above.start <= place < above.stop:
            sees += range(above.key_start, above.key_stop)
    if (w := layout.bundles) is not None:
        here = w.real_BW & (w.place_BW == place)
        for b, row in here.nonzero().tolist():
            sees += w.place_BW[b][w.mask_B1WW[b, 0, row] == 0].tolist()
    sees.sort(key=lambda p: int(layout.position_M[p]))
    assert [int(layout.position_M[p]) for p in sees] == list(range(len(sees)))
    return [flat[int(layout.token_M[p])] for p in sees]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=24), min_size=1, max_size=8),
    st.sampled_from([1, 6, 40, float("inf")]),
    st.sampled_from([0, 9, 30, 200]),
)
def test_each_asked_token_is_predicted_from_all_that_comes_before_it(rows, worth, bundle):
    layout, at_n = laid(rows, worth=worth, bundle=bundle)
    whole = [(row, p) for row in rows for p in range(1, len(row))]
    assert len(layout.place_n) == len(at_n) == len(whole)
    for (row, p), place in zip(whole, layout.place_n.tolist(), strict=True):
        assert context(rows, layout, place) == row[:p]


def test_a_prompt_and_its_samples():
    prompt = list(range(10, 20))
    layout, _ = laid([[*prompt, 1, 2, 3], [*prompt, 4, 5, 6], [*prompt, 7, 8]])
    assert layout.M == 10 + 2 + 2 + 1  # the last token of each predicts nothing
    assert layout.spans == ((0, 10), (10, 12), (10, 12), (10, 11)) and layout.longest == 12
    (above,) = layout.above
    assert (above.key_start, above.key_stop, above.start, above.stop) == (0, 10, 10, 15)
    assert [(own.start, own.length, own.count) for own in layout.own] == [(0, 10, 1), (10, 2, 2), (14, 1, 1)]


def test_a_system_prompt_before_prompts_makes_two_levels():
    system, a, b = [1] * 6, [2] * 8, [3] * 5
    layout, _ = laid([[*system, *x, y, y] for x in (a, b) for y in (7, 8, 9)])
    assert layout.M == 6 + 8 + 5 + 6 and len(layout.above) == 3


def test_what_saves_too_little_is_not_shared():
    prompt = list(range(10, 20))
    rows = [[*prompt, 1, 2], [*prompt, 3, 4]]
    assert laid(rows, worth=10)[0].M == 12 and laid(rows, worth=11)[0].M == 22
    assert laid([[1, 2, 3, k, 5] for k in range(9)])[0].M == 36  # three tokens are too short a beginning


def test_nothing_is_computed_that_nothing_asked_for_depends_on():
    layout, _ = laid([[1, 2, 3, 4, 5], [6, 7, 8], [9, 10]], [[1, 2], [], [1]])
    assert layout.spans == ((0, 2), (0, 1))
    assert sorted(layout.token_M.tolist()) == [0, 1, 8]


def test_nested_beginnings_end_at_a_greatest_depth():
    assert levels(tree([[1] * k for k in range(0, 400, 10)], worth=1)) == DEEPEST + 1


def test_small_trees_share_all_they_can_in_bundles_of_their_own():
    pairs = [[1, 9, k, 5, 6, 7, end] for k in range(4) for end in (7, 8)]  # six of each pair's places are common
    layout, _ = laid(pairs, bundle=16)
    assert layout.M == 4 * 6 and layout.bundles is not None and not layout.own and not layout.above
    assert layout.bundles.place_BW.shape == (2, 16) and int(layout.bundles.real_BW.sum()) == 24


def test_a_tree_larger_than_a_bundle_is_laid_as_ever_beside_them():
    long = [[2] * 20 + [k, k] for k in (3, 4)]
    layout, _ = laid([*long, [5, 6, 7]], bundle=16)
    assert layout.bundles is not None and int(layout.bundles.real_BW.sum()) == 2 and len(layout.above) == 1


def test_bundles_share_nothing_where_nothing_may_be_shared():
    assert laid([[1, 2, 3], [1, 2, 4]], worth=float("inf"), bundle=16)[0].M == 4


def test_what_is_asked_twice_from_one_place_is_asked_once():
    rows = [[1, 2, 3, 4], [1, 2, 3, 5], [6, 7]]
    layout, at_n = laid(rows, bundle=16)
    ids_N = torch.tensor([x for row in rows for x in row])
    asked_n, fewer, again_n = distinct(at_n, layout, ids_N)
    assert len(at_n) == 7 and len(asked_n) == 5  # 2 and 3 are common
    assert torch.equal(ids_N[asked_n][again_n], ids_N[at_n])
    assert torch.equal(fewer.place_n[again_n], layout.place_n)


def test_a_token_is_asked_for_at_each_of_its_temperatures():
    """A demonstration and a sample with the same ids, behind the same beginning."""
    rows = [[1, 2, 3, 4, 5], [1, 2, 3, 6]]
    layout, at_n = laid(rows, bundle=16)
    ids_N = torch.tensor([x for row in rows for x in row])
    assert len(distinct(at_n, layout, ids_N)[0]) == 5  # 2 and 3 are common
    for first, different in (([1.0, 1.0, 0.7, 0.7, 0.7], 6), ([0.7] * 5, 7)):
        temperature_N = torch.tensor([*first, 1.0, 1.0, 1.0, 1.0])
        asked_n, fewer, again_n = distinct(at_n, layout, ids_N, temperature_N)
        assert len(asked_n) == different
        assert torch.equal(temperature_N[asked_n][again_n], temperature_N[at_n])
        assert torch.equal(fewer.place_n[again_n], layout.place_n)


def test_where_nothing_is_asked_twice_nothing_changes():
    layout, at_n = laid([[1, 2, 3], [4, 5]])
    asked_n, same, again_n = distinct(at_n, layout, torch.tensor([1, 2, 3, 4, 5]))
    assert asked_n is at_n and same is layout and again_n == slice(None)


def levels(nodes) -> int:
    return 1 + max((levels(node.children) for node in nodes), default=-1)
