"""How a batch is cut into micro-batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from scalpel.batch import Row, lay
from scalpel.engine import Engine
from scalpel.tokens import Tokens

ENGINE = Engine(tiny.model(), Tokens(tiny.tokenizer()))


def batch(lengths, groups):
    rows = [Row([1] * n, [True] * n, [0] * n, group=g) for n, g in zip(lengths, groups, strict=True)]
    return lay(rows)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5).map(lambda g: 17 * g)), min_size=1, max_size=20),
    st.sampled_from(["token", "sequence", "pair", "group"]),
    st.integers(1, 6),
    st.integers(1, 200),
)
def test_every_sequence_is_in_one_piece_and_no_unit_is_split(drawn, unit, parts, most):
    b = batch(*zip(*drawn, strict=True))
    ENGINE.micro_tokens = most
    pieces = ENGINE.micro(b, unit, parts)
    assert sorted(torch.cat(pieces).tolist()) == list(range(b.S))
    groups = [set(b.group_S[p].tolist()) for p in pieces]
    if unit in ("pair", "group"):
        assert sum(map(len, groups)) == len(set().union(*groups))
    units = len(set(b.group_S.tolist())) if unit in ("pair", "group") else b.S
    assert len(pieces) >= min(parts, units)
    for piece in pieces:
        longest = int(torch.bincount(b.seq_N)[piece].max())
        whole_unit = len({int(g) for g in b.group_S[piece]}) == 1 if unit in ("pair", "group") else len(piece) == 1
        assert whole_unit or longest * len(piece) <= most


@pytest.mark.parametrize(("n", "parts"), [(5, 4), (7, 4), (8, 3), (3, 8)])
def test_accumulation_gives_at_least_as_many_micro_batches_as_asked(n, parts):
    ENGINE.micro_tokens = 10_000
    assert len(ENGINE.micro(batch([4] * n, range(n)), "sequence", parts)) >= min(n, parts)
