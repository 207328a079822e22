"""Models that carry a state: rows that end at different times, no padding in the state, what transformers writes."""

from typing import Any

import pytest
import torch

import tiny
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine, Sampling
from scalpel.engine.decoders import way

STATE = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "intermediate_size": 32, "time_step_rank": 4}
SHAPES: dict[str, dict[str, Any]] = {
    "mamba": {**STATE, "initializer_range": 0.3},
    "falcon_mamba": {**STATE, "initializer_range": 0.3},
    "rwkv": {"hidden_size": 16, "attention_hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
    "mixtral": {**tiny.COMMON, "num_local_experts": 3, "num_experts_per_tok": 2, "initializer_range": 0.3},
}
PROMPTS = [[7, 8, 9, 10, 11], [20, 21], [30, 31, 32, 33, 34], [40, 41, 42]]


@pytest.fixture(params=SHAPES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setitem(tiny.SHAPES, request.param, SHAPES[request.param])
    made = Engine(tiny.model(request.param), Tokens(tiny.tokenizer()))
    made.tokens.stop_ids = frozenset(range(3, 260, 16))
    return made


def test_greedy_is_what_transformers_generates(engine: Engine) -> None:
    ours = [group[0].ids for group in engine.sample(PROMPTS, Sampling(6, 0.0))]
    for prompt, ids in zip(PROMPTS, ours, strict=True):
        shown = torch.tensor([prompt])
        theirs = engine.model.generate(
            shown, attention_mask=torch.ones_like(shown), max_new_tokens=6, do_sample=False, pad_token_id=0
        )
        assert ids == theirs[0, len(prompt) : len(prompt) + len(ids)].tolist()


def test_rows_that_end_at_different_times_are_as_if_each_had_been_alone(engine: Engine) -> None:
    found = engine.sample(PROMPTS, Sampling(12), n=3, seed=2)
    assert len({len(s.ids) for group in found for s in group}) > 2
    rows = [(p, s.ids) for p, group in zip(PROMPTS, found, strict=True) for s in group]
    alone = [engine.logps([row])[0] for row in rows]
    written = [s.logp for group in found for s in group]
    for a, b in zip(alone, written, strict=True):
        assert a == pytest.approx(b, abs=1e-4)
    for engine.sample_rows in (3, 6):
        assert [[s.ids for s in g] for g in engine.sample(PROMPTS, Sampling(12), n=3, seed=2)] == [
            [s.ids for s in g] for g in found
        ]


def test_the_way_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, shape in SHAPES.items():
        monkeypatch.setitem(tiny.SHAPES, kind, shape)
    found = {kind: way(tiny.model(kind), 0) for kind in SHAPES}
    assert found == {"mamba": "pools", "falcon_mamba": "pools", "rwkv": "anew", "mixtral": "fast"}
