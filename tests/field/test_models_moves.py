"""What a run says of itself before the first step, after it and at the end; a check beside transformers' own pass."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import running
import tiny
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.engine.outputs import completions
from scalpel.experiments import single
from scalpel.experiments.single import run_recipe
from scalpel.runs.progress import Progress
from scalpel.training import trainable_report
from scalpel.training.self_check import check


class Said(Progress):
    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.words: list[str] = []

    def say(self, words: str) -> None:
        self.words.append(words)


@pytest.fixture
def at(tmp_path: Path) -> Path:
    return running.prepare(tmp_path)


def run(at: Path, stage: dict[str, Any]) -> str:
    said = Said()
    run_recipe(running.tables(at, {"steps": 2, **stage}), at / "run", progress=said)
    return "\n".join(said.words)


def test_what_moves_what_stays_and_what_did_move_are_said(at: Path) -> None:
    words = run(at, {"method": "sft", "scope": {"name": "lora", "targets": ["q_proj"], "rank": 2}})
    assert "in model.layers.*.self_attn.q_proj.lora_A (2 layers, 64)" in words
    assert "frozen: 8,896 parameters, in model.embed_tokens (4,208)" in words
    assert "step 1 changed 2 of 4 tensors" in words  # A has no gradient while B is zero
    assert "self-check: the log-probs of" in words and "transformers' own eager pass in float32" in words
    assert "% of the model's weights changed" in words
    assert '"precision": "float32"' in (at / "run" / "environment.json").read_text()


def test_a_rate_that_moves_nothing_stops_the_run_with_the_reason(at: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="nothing changed in 2 steps: the learning rate, 1e-30, is too small"):
        run(at, {"method": "sft", "learning_rate": 1e-30})


def test_rewards_without_a_difference_move_nothing_and_are_no_mistake(at: Path) -> None:
    (at / "reward.py").write_text("def spread(completions, **columns):\n    return [0.0 for _ in completions]\n")
    words = run(at, {"method": "grpo"})
    assert (
        "step 1 changed nothing: there was no gradient" in words and "nothing changed in 2 steps: there was no" in words
    )


def test_experts_that_stay_frozen_are_said_with_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny.SHAPES, "mixtral", {**tiny.COMMON, "num_local_experts": 3, "num_experts_per_tok": 2})
    from scalpel.scope import train_only

    model = tiny.model("mixtral")
    words = trainable_report.plan(train_only(model, lambda name, p: "q_proj" in name), model)
    assert "no expert is trainable: their 9,216 parameters" in words


@pytest.mark.parametrize("kind", list(tiny.SHAPES))
def test_the_check_finds_rounding_alone_and_leaves_random_numbers_and_weights_as_they_were(kind: str) -> None:
    engine = Engine(tiny.model(kind), Tokens(tiny.tokenizer()))
    batch = completions([([7, 8, 9], [10, 11, 12]), ([20, 21], [22])])
    before, state = {n: p.clone() for n, p in engine.model.named_parameters()}, torch.get_rng_state()
    how = engine.model.config._attn_implementation
    assert "4 trained tokens in 2 sequences" in check(engine, batch)
    assert torch.equal(state, torch.get_rng_state()) and engine.model.config._attn_implementation == how
    assert all(torch.equal(p, before[n]) for n, p in engine.model.named_parameters())


def test_the_check_refuses_numbers_that_rounding_can_not_make(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    batch = completions([([7, 8, 9], [10, 11, 12])])
    wrong = engine.score(batch)
    monkeypatch.setattr(engine, "score", lambda part: wrong.__class__(wrong.logp_N + 0.1))
    with pytest.raises(ValueError, match="which is more than rounding"):
        check(engine, batch)


def test_the_check_on_or_off_gives_the_same_weights(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for name in ("on", "off"):
        if name == "off":
            monkeypatch.setattr(single, "check", lambda engine, batch: "left out")
        run_recipe(running.tables(at, {"method": "grpo", "steps": 2}), at / name, progress=Said())
        weights.append(load_file(next((at / name).rglob("model.safetensors"))))
    assert running.equal(*weights)
