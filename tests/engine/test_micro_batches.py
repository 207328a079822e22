"""How a batch is cut into micro-batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from scalpel.batch import Row, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine

PACKED = Engine(tiny.model(), Tokens(tiny.tokenizer()))
PADDED = Engine(tiny.model("gemma2"), Tokens(tiny.tokenizer()))


def batch(lengths, groups):
    rows = [Row([1] * n, [True] * n, [0] * n, group=g) for n, g in zip(lengths, groups, strict=True)]
    return pack(rows)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5).map(lambda g: 17 * g)), min_size=1, max_size=20),
    st.sampled_from(["token", "sequence", "pair", "group"]),
    st.integers(1, 6),
    st.integers(1, 200),
    st.sampled_from([PACKED, PADDED]),
)
def test_every_sequence_is_in_one_piece_and_no_unit_is_split(drawn, unit, parts, most, engine):
    b = batch(*zip(*drawn, strict=True))
    engine.micro_tokens = most
    pieces = engine.micro(b, unit, parts)
    assert sorted(torch.cat(pieces).tolist()) == list(range(b.S))
    groups = [set(b.group_S[p].tolist()) for p in pieces]
    if unit in ("pair", "group"):
        assert sum(map(len, groups)) == len(set().union(*groups))
    units = len(set(b.group_S.tolist())) if unit in ("pair", "group") else b.S
    assert len(pieces) >= min(parts, units)
    for piece in pieces:
        whole_unit = len({int(g) for g in b.group_S[piece]}) == 1 if unit in ("pair", "group") else len(piece) == 1
        assert whole_unit or engine.size(b.pick(piece)) <= most


@pytest.mark.parametrize("engine", [PACKED, PADDED])
@pytest.mark.parametrize(("n", "parts"), [(5, 4), (7, 4), (8, 3), (3, 8)])
def test_accumulation_gives_at_least_as_many_micro_batches_as_asked(engine, n, parts):
    engine.micro_tokens = 10_000
    assert len(engine.micro(batch([4] * n, range(n)), "sequence", parts)) >= min(n, parts)


def test_a_group_stays_together_where_its_prompt_can_be_shared():
    prompts = [[10 * k] * 70 for k in (3, 1, 2)]
    rows = [
        Row([*prompts[g], 100 + i, 5], [False] * 70 + [True] * 2, [0] * 72, group=g) for i in range(4) for g in range(3)
    ]
    PACKED.micro_tokens = 2 * (70 + 4)
    pieces = PACKED.micro(pack(rows), "token")
    assert [len({i % 3 for i in piece.tolist()}) for piece in pieces] == [2, 1]
    assert [PACKED.layout(pack(rows).pick(piece)).M for piece in pieces] == [148, 74]


def test_a_group_beyond_the_bound_is_split_unless_it_must_not_be():
    rows = [Row([k] * 50, [True] * 50, [0] * 50) for k in range(1, 5)]
    PACKED.micro_tokens = 100
    assert [len(p) for p in PACKED.micro(pack(rows), "token")] == [2, 2]
    assert [len(p) for p in PACKED.micro(pack(rows), "group")] == [4]


def test_pieces_are_of_about_equal_size_and_the_largest_comes_first():
    rows = [Row([k] * 20, [True] * 20, [0] * 20, group=k) for k in range(1, 12)]
    PACKED.micro_tokens = 200  # 11·19 = 209 tokens: two pieces, not 10 and 1
    assert [len(p) for p in PACKED.micro(pack(rows), "token")] == [6, 5]


def test_nothing_gives_no_pieces():
    assert PACKED.micro(pack([]), "token") == [] == PADDED.micro(pack([]), "token")
