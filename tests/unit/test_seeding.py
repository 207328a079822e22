"""The order in which examples come."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scalpel.seeding import derive, permutation, window


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 5))
def test_windows_laid_end_to_end_are_whole_shuffles(n, size, seed):
    steps = -(-3 * n // size)
    drawn = [x for step in range(steps) for x in window(range(n), step, size, seed)]
    for epoch in range(3):
        assert Counter(drawn[epoch * n : (epoch + 1) * n]) == Counter(range(n))


@given(st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
def test_a_permutation_depends_on_its_seed_and_epoch_alone(n, seed, epoch):
    first = permutation(n, seed, epoch)
    permutation.cache_clear()
    assert permutation(n, seed, epoch) == first
    assert sorted(first) == list(range(n))


def test_another_seed_or_epoch_is_another_order():
    assert len({tuple(permutation(50, s, e)) for s in range(3) for e in range(3)}) == 9


def test_a_derived_seed_is_the_same_in_every_process():
    assert derive(0, "step", 1) == 2206579071322351965
    assert len({derive(0, "step", k) for k in range(100)} | {derive(0, "draw", k) for k in range(100)}) == 200
    assert all(0 <= derive(k) < 2**62 for k in range(100))
