"""Laws of the batch: laying, picking, sums over sequences."""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scalpel.config.plan  # noqa: F401  # registers every part
from scalpel.batch import DEMONSTRATION, ENVIRONMENT, POLICY, Batch, Row, group_moments, pack
from scalpel.part import Out, bind

rows = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=6),
        st.integers(0, 40),  # group numbers with gaps
        st.floats(-2, 2, width=32),
    ),
    min_size=1,
    max_size=6,
)


def batch_of(drawn) -> Batch:
    return pack(
        [
            Row([i for i, _ in t], [b for _, b in t], [DEMONSTRATION] * len(t), group=g, rewards=[r], columns={"k": k})
            for k, (t, g, r) in enumerate(drawn)
        ]
    )


def same(a: Batch, b: Batch) -> bool:
    for f in fields(Batch):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if not (torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y):
            return False
    return True


@given(rows, st.data())
def test_picking_twice_is_picking_the_composition(drawn, data):
    batch = batch_of(drawn)
    places = st.lists(st.integers(0, batch.S - 1), min_size=1, max_size=6)
    first = torch.tensor(data.draw(places))
    second = torch.tensor(data.draw(st.lists(st.integers(0, len(first) - 1), min_size=1, max_size=6)))
    assert same(batch.pick(first).pick(second), batch.pick(first[second]))


@given(rows)
def test_picking_everything_in_order_changes_nothing(drawn):
    batch = batch_of(drawn)
    assert same(batch.pick(torch.arange(batch.S)), batch)


@given(rows, st.randoms())
def test_sums_follow_their_sequences(drawn, random):
    batch = batch_of(drawn)
    x_N = torch.arange(batch.N, dtype=torch.float32)
    order = random.sample(range(batch.S), batch.S)
    picked, index = batch.pick(torch.tensor(order)), torch.tensor(order)
    token_n = torch.cat([(batch.seq_N == s).nonzero()[:, 0] for s in order])
    assert torch.equal(picked.sum_S(x_N[token_n]), batch.sum_S(x_N)[index])
    assert torch.equal(picked.reward_S, batch.reward_S[index])


@given(rows)
def test_a_first_token_is_never_trained(drawn):
    batch = batch_of(drawn)
    first_N = torch.cat([torch.ones(1, dtype=torch.bool), batch.seq_N[1:] != batch.seq_N[:-1]])
    assert not bool((batch.train_N & first_N).any())


def test_sums_and_means_by_hand():
    batch = pack([Row([1, 2, 3], [True] * 3, [0] * 3), Row([4, 5], [False, False], [0] * 2)])
    x_N = torch.tensor([10.0, 1.0, 2.0, 30.0, 40.0])
    assert batch.sum_S(x_N).tolist() == [3.0, 0.0]  # the first token of each row is not trained
    assert batch.mean_S(x_N).tolist() == [1.5, 0.0]
    assert batch.broadcast(torch.tensor([7.0, 8.0])).tolist() == [7.0, 7.0, 7.0, 8.0, 8.0]


def test_nan_off_the_mask_does_not_reach_a_sum():
    batch = pack([Row([1, 2, 3], [True, False, True], [0] * 3)])
    assert batch.sum_S(torch.tensor([torch.nan, -torch.inf, 2.0])).tolist() == [2.0]


def test_a_reward_that_does_not_apply_counts_as_nothing():
    batch = pack([Row([1, 2], [True] * 2, [0] * 2, rewards=[1.0, float("nan")])])
    assert batch.reward_S.tolist() == [1.0]


def test_no_rows_make_an_empty_batch():
    batch = pack([])
    assert (batch.N, batch.S, batch.reward_SK) == (0, 0, None)


def test_a_batch_without_columns_can_be_picked():
    batch = pack([Row([1, 2], [True] * 2, [ENVIRONMENT] * 2)])
    bare = Batch(**{**vars(batch), "columns": ()})
    assert bare.pick(torch.tensor([0])).ids_N.tolist() == [1, 2]


def test_lists_of_unequal_length_are_our_own_mistake():
    with pytest.raises(AssertionError, match="unequal"):
        pack([Row([1, 2, 3], [True], [0] * 3)])


def test_group_moments_by_hand():
    # group 0: 1, 3 → mean 2, std √2; group 1: 5 alone → std 0
    mean_S, std_S, size_S = group_moments(torch.tensor([1.0, 5.0, 3.0]), torch.tensor([0, 1, 0]))
    assert mean_S.tolist() == [2.0, 5.0, 2.0]
    assert std_S.tolist() == pytest.approx([2**0.5, 0.0, 2**0.5])
    assert size_S.tolist() == [2.0, 1.0, 2.0]


def test_sparse_group_numbers_become_dense():
    batch = batch_of([([(1, True), (2, True)], g, 0.0) for g in (900, 7, 900, 31)])
    assert batch.dense_group_S().tolist() == [2, 0, 2, 1]


def row(reward: float, n: int = 1, group: int = 0, continues: bool = False) -> Row:
    return Row(range(n + 1), [True] * (n + 1), [0] * (n + 1), group=group, rewards=[reward], continues=continues)


def test_an_episode_in_several_sequences_is_one_member_of_its_group_by_hand():
    # group 0: an episode of three sequences with reward 4, two of one with 1 and 1; group 1: one episode of two
    rows = [row(4.0), row(4.0, continues=True), row(4.0, continues=True), row(1.0), row(1.0)]
    batch = pack([*rows, row(7.0, group=1), row(7.0, group=1, continues=True)])
    mean_S, std_S, size_S = batch.group_moments(batch.reward_S)
    assert mean_S.tolist() == [2.0] * 5 + [7.0] * 2  # (4 + 1 + 1) / 3
    assert std_S.tolist() == pytest.approx([3**0.5] * 5 + [0.0] * 2)  # √((4 + 1 + 1) / 2)
    assert size_S.tolist() == [3.0] * 5 + [1.0] * 2
    assert batch.episode_sum(torch.arange(7.0)).tolist() == [3.0, 3.0, 3.0, 3.0, 4.0, 11.0, 11.0]
    later = batch.pick(torch.tensor([5, 6, 3]))  # numbers of episodes and groups have gaps in a part of a batch
    assert later.episodes()[1].tolist() == [1, 1, 0] and later.episodes()[0].tolist() == [2, 0]


def test_episodes_that_no_reward_applies_to_are_counted_once():
    nan = float("nan")
    batch = pack([row(nan), row(nan, continues=True), row(1.0), row(0.0), row(0.0, continues=True)]).rewarded()
    assert batch.S == 3 and batch.lost_S is not None and batch.lost_S.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("credit", "hyper"),
    [("group-zscore", {}), ("group-mean", {}), ("leave-one-out", {"kl_beta": 0.5}), ("recompose", {}),
     ("pass-gate", {"gate": 0.4})],
)  # fmt: skip
def test_credits_are_the_same_whether_an_episode_was_split_or_not(credit: str, hyper: dict) -> None:
    """A group of three episodes, one of which is a sequence of three tokens, or three of one token each."""
    lone = [row(0.0, 2), row(0.0, 1)]
    whole = pack([row(1.0, 3), *lone])
    split = pack([row(1.0), row(1.0, continues=True), row(1.0, continues=True), *lone])
    found = []
    for batch in (whole, split):
        old_N = torch.zeros(batch.N)
        old_N[batch.train_N] = torch.arange(1.0, 7.0)
        filled = replace(batch, author_N=torch.full_like(batch.author_N, POLICY), old_N=old_N, reference_N=-old_N)
        found.append(bind("credit", credit, **hyper)(Out(old_N), filled)[batch.train_N])
    torch.testing.assert_close(found[0], found[1])
